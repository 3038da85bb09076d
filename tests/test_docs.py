"""README.md and docs/: every code block runs, or says why not and is checked; every link leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import git
from tests.docs import LANGUAGES, PAGES, ROOT, Block, blocks, check, generated, parse, plain

BLOCKS = [block for page in PAGES for block in blocks(page)]


def workplace(folder: Path) -> dict[str, str]:
    """A folder with what the pages speak of: our commands on PATH, and a user's checkout."""
    programs = folder / "bin"
    programs.mkdir()
    for name, start in (
        ("python", ""),
        ("nano-codex", " -c 'import sys; from nano_codex_env.cli import main; sys.exit(main())'"),
    ):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{start} "$@"\n')
        program.chmod(0o755)
    checkout = folder / "path" / "to" / "your" / "checkout"
    checkout.mkdir(parents=True)
    git(checkout, "init", "-q", "-b", "main")
    checkout.joinpath("stats.py").write_text("def median(values):\n    return sorted(values)[len(values) // 2]\n")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "first")
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": path, "COLUMNS": "100"}


def pages(wanted: Callable[[Block], bool]) -> list[Any]:
    """The pages with a block that is wanted, as parameters."""
    return [pytest.param(page, id=page.name) for page in PAGES if any(map(wanted, blocks(page)))]


def run_page(page: Path, folder: Path, *options: str) -> None:
    command = [sys.executable, "-W", "error::ResourceWarning", "-m", "tests.docs", str(page), *options]
    done = subprocess.run(command, cwd=folder, env=workplace(folder), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", pages(lambda block: block.runs and not block.slow))
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path, "--fast")


@pytest.mark.slow
@pytest.mark.parametrize("page", pages(lambda block: bool(block.slow)))
def test_the_code_of_a_page_runs_with_its_slow_blocks(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path)


@pytest.mark.parametrize(
    "block", [pytest.param(block, id=block.where) for block in BLOCKS if block.slow or not block.runs]
)
def test_a_block_that_is_not_run_uses_only_names_that_exist(block: Block) -> None:
    assert block.language in LANGUAGES
    check(block)


def test_a_wrong_option_and_a_wrong_name_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    """The checks above would notice."""
    with pytest.raises(SystemExit):
        parse(["run", "--no-such-option"])
    assert "--no-such-option" in capsys.readouterr().err
    for code in ("from nano_codex_env import No", "from nano_codex_env import ChatPolicy\nChatPolicy('m', heat=1)"):
        with pytest.raises((AssertionError, ImportError)):
            check(Block(ROOT / "README.md", 1, "python", code))


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_what_is_generated_is_up_to_date(page: Path) -> None:
    """Otherwise: `python -m tests.docs --write`."""
    assert plain(page.read_text(encoding="utf-8")) == plain(generated(page))


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith(("https://", "http://")):
            continue
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, target


def test_every_file_that_a_page_names_is_there() -> None:
    for page in PAGES:
        for name in re.findall(r"`((?:examples|configs|docs|tests)/[\w./-]+)`", page.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_the_readme_is_short_and_links_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.encode()) <= 8192
    assert all(f"(docs/{page.name})" in readme for page in PAGES if page.parent.name == "docs")
