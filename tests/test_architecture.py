"""The house holds: importing does nothing, the public names are true, nothing grows too long."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import nano_codex_env

PACKAGE = Path(nano_codex_env.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "bundled" not in path.parts)
HEAVY = ("openai", "datasets", "git", "pytest", "rich", "torch", "transformers", "trl", "verl")


def name_of(path: Path) -> str:
    """A module's name as it stands in an id."""
    return path.relative_to(PACKAGE).as_posix()


def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a module."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the last one; the docstring is not counted."""
    total = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return total
    first = function.body[0]
    return total - ((first.end_lineno or 0) - first.lineno + 1)


def python(code: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter that knows nothing of ours."""
    command = [sys.executable, "-B", "-W", "error", "-c", code]
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "PYTHONPATH": str(PACKAGE.parent), **env}
    return subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("use", "expression", "printed"),
    [
        ("", f"[name for name in {HEAVY} if name in sys.modules]", "[]"),
        (
            "for name in nano_codex_env.__all__: getattr(nano_codex_env, name)",
            f"[x for x in {HEAVY} if x in sys.modules]",
            "[]",
        ),
        ("import gymnasium", "gymnasium.spec('NanoCodex-v0').entry_point", "nano_codex_env.env:NanoCodexEnv"),
        ("", "'nano_codex_env.env' in sys.modules", "False"),
    ],
    ids=["light", "public names", "registered", "not loaded"],
)
def test_importing_does_nothing(tmp_path: Path, use: str, expression: str, printed: str) -> None:
    """No heavy package is imported, and no file is written; the environment is registered but not loaded."""
    done = python(f"import sys, nano_codex_env\n{use}\nprint({expression})", tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (f"{printed}\n", "", 0)
    assert list(tmp_path.iterdir()) == []


def test_the_public_names_are_sorted_and_true() -> None:
    names = nano_codex_env.__all__
    assert names == sorted(names)
    assert len(names) == len(set(names))
    assert {name for name in names if getattr(nano_codex_env, name, None) is None} == set()
    assert dir(nano_codex_env) == names


def test_every_public_name_is_there_for_the_type_checker_too() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {
        alias.name
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == set(nano_codex_env.__all__)


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'NanoCodex'"):
        _ = nano_codex_env.NanoCodex


def test_the_names_of_a_package_are_sorted_and_true() -> None:
    wrong = []
    for path in MODULES:
        if path.name != "__init__.py" or path.parent == PACKAGE:
            continue
        module = importlib.import_module(".".join(path.parent.relative_to(PACKAGE.parent).parts))
        names = getattr(module, "__all__", [])
        # Constants first, then classes, then functions: the order that ruff's RUF022 keeps.
        groups = [(not name.isupper(), not name[0].isupper(), name) for name in names]
        wrong += [f"{name_of(path)}: {b[2]} comes after {a[2]}" for a, b in pairwise(groups) if not a < b]
        wrong += [f"{name_of(path)}: there is no {name}" for name in names if not hasattr(module, name)]
    assert wrong == []


def test_every_module_says_what_it_is() -> None:
    wrong = {}
    for path in MODULES:
        first = (ast.get_docstring(parsed(path)) or "").split("\n\n")[0]
        if not first.endswith((".", ":")):
            wrong[name_of(path)] = first or "there is no docstring"
    assert wrong == {}


def test_no_module_is_long() -> None:
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > 300} == {}


def test_no_function_is_long() -> None:
    wrong = [
        f"{name_of(path)}: {function.name} has {lines} lines"
        for path in MODULES
        for function in functions(path)
        if (lines := length(function)) > 60
    ]
    assert wrong == []


def test_no_two_classes_have_one_name() -> None:
    """A leading underscore makes no other name."""
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name.lstrip("_"), []).append(name_of(path))
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_what_runs_inside_a_box_imports_nothing_of_ours_but_its_neighbours() -> None:
    """There is only Python and pytest, and in the candidate's box not even that."""
    wrong, inside = [], sorted((PACKAGE / "scoring" / "inside").glob("*.py"))
    assert inside
    for path in inside:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            ours = line.strip().startswith(("from nano_codex_env", "import nano"))
            if ours and not line.strip().startswith("from nano_codex_env.scoring.inside"):
                wrong.append(f"{name_of(path)}, line {number}: {line.strip()}")
    assert wrong == []


def test_the_old_name_of_the_chat_templates_still_works() -> None:
    """`nano_codex_env.templates` is in scripts that people have."""
    old, new = (importlib.import_module(f"nano_codex_env.{name}") for name in ("templates", "chat_templates"))
    assert old.__all__ == new.__all__
    assert {name for name in new.__all__ if getattr(old, name) is not getattr(new, name)} == set()


def test_the_old_name_of_task_reset_still_works() -> None:
    """Specs that people saved with `EnvSpec.to_json` name `nano_codex_env.env:TaskReset`, or that of `options`."""
    old, new = (importlib.import_module(f"nano_codex_env.{name}") for name in ("env", "options"))
    assert old.TaskReset is new.TaskReset
