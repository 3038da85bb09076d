"""Runs inside the box: pytest over chosen tests, with a report of each phase over a pipe that is not stdout.

It is started as `python -s runner.py` with the report pipe as descriptor 2. It reads its configuration from stdin (a
line with the length, then JSON), imports pytest, reports that it is up, and only then applies the patch and the tests.
Each report is a line `digest json`, chained by a key, so that the host detects a missing, doubled or moved line.
It is written for Python 3.6 and pytest 4.6, since a task brings its own interpreter.
"""

import difflib
import hashlib
import importlib.machinery
import json
import os
import re
import subprocess
import sys
import sysconfig
import types
from typing import Any, Dict, Iterable, List, Tuple

_encode, _sha256, _write = json.JSONEncoder().encode, hashlib.sha256, os.write  # before any code may replace them


class Reports:
    """The pipe to the host."""

    def __init__(self, descriptor: int, key: str) -> None:
        self._descriptor, self._digest = descriptor, key

    def send(self, *values: object) -> None:
        """Send one record; the digest covers all records so far."""
        text = _encode(values)
        self._digest = _sha256((self._digest + text).encode()).hexdigest()
        data = "{} {}\n".format(self._digest, text).encode()
        while data:
            data = data[_write(self._descriptor, data) :]


class Plugin:
    """Chooses the wanted tests and reports each phase as it ends."""

    def __init__(self, reports: Reports, config: Dict[str, Any]) -> None:
        self._reports, self._canaries = reports, config["canaries"]
        self._ids = None if config["ids"] is None else set(config["ids"])
        self._functions = set(config["functions"])
        self._ran_out = False

    def pytest_configure(self) -> None:
        """Plugins are loaded by now; a test that runs pytest itself needs autoload as usual."""
        os.environ.pop("PYTEST_DISABLE_PLUGIN_AUTOLOAD", None)

    def pytest_collection_modifyitems(self, items: List[Any]) -> None:
        """Keep the chosen tests, in the order of collection."""
        ids = self._ids
        if ids is None:
            return
        found = [item.nodeid for item in items]
        items[:] = [item for item in items if item.nodeid in ids or item.nodeid.partition("[")[0] in self._functions]
        near = []
        for test in sorted(ids.difference(found))[:10]:
            same_file = [other for other in found if other.partition("::")[0] == test.partition("::")[0]]
            near.append([test, difflib.get_close_matches(test, same_file[:2000], 3, 0.3)])
        if near:
            self._reports.send("missing", near)

    def pytest_runtestloop(self, session: Any) -> Any:
        """If all tests passed, run the canaries in the same session, where they can no longer disturb a test."""
        yield
        if not self._canaries or not session.items or session.testsfailed:
            return
        try:
            items = self._canary_items(session)
            for number, item in enumerate(items):
                following = items[number + 1] if number + 1 < len(items) else None
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        except (Exception, SystemExit) as error:  # noqa: BLE001 (a hook of the repository that cannot handle them)
            print("no canaries: {!r}".format(error))

    def _canary_items(self, session: Any) -> List[Any]:
        import pytest

        path = os.path.join(os.getcwd(), self._canaries["path"])
        folder = os.path.dirname(path)
        parents = [item.getparent(pytest.Module).parent for item in session.items if _folder(item) == folder]
        parent = parents[0] if parents else session
        module = types.ModuleType(os.path.splitext(os.path.basename(path))[0])
        exec(compile(self._canaries["text"], path, "exec"), module.__dict__)
        node = _module_node(parent, path)
        node.obj = module
        return list(session.genitems(node))

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Send the phase; the report of a subtest has a context."""
        self._reports.send(
            "phase",
            report.nodeid,
            report.when,
            report.outcome,
            hasattr(report, "wasxfail"),
            hasattr(report, "context"),
            _line_of(report),
        )
        self._tell_memory(report)

    def pytest_collectreport(self, report: Any) -> None:
        """A module may run out of memory when it is imported."""
        self._tell_memory(report)

    def _tell_memory(self, report: Any) -> None:
        """Name the first test that failed for want of memory."""
        if not self._ran_out and report.failed:
            self._ran_out = _is_memory_error(report)
            if self._ran_out:
                self._reports.send("memory", report.nodeid)


def _folder(item: Any) -> str:
    return os.path.dirname(str(getattr(item, "path", None) or item.fspath))


def _module_node(parent: Any, path: str) -> Any:
    """A node for a module without a file, by the constructor of this version of pytest."""
    import pytest

    if not hasattr(pytest.Module, "from_parent"):
        import py  # type: ignore[import-untyped]

        return pytest.Module(py.path.local(path), parent)
    if hasattr(pytest.Item, "path") or int(pytest.__version__.split(".")[0]) >= 7:
        import pathlib

        return pytest.Module.from_parent(parent, path=pathlib.Path(path))
    import py

    return pytest.Module.from_parent(parent, fspath=py.path.local(path))


def _is_memory_error(report: Any) -> bool:
    try:
        return bool(re.search(r"(?m)^(E +)?(MemoryError\b|OSError: \[Errno 12\])", str(report.longrepr)))
    except MemoryError:
        return True


def _line_of(report: Any) -> int:
    """The line of the test at which it failed; 0: unknown."""
    try:
        return int(report.longrepr.reprtraceback.reprentries[0].reprfileloc.lineno)
    except (AttributeError, IndexError, TypeError, ValueError):
        return 0


HARMFUL = {
    "-n": 1, "--numprocesses": 1, "--dist": 1, "--tx": 1, "--maxprocesses": 1, "-d": 0, "-f": 0, "--looponfail": 0,
    "-x": 0, "--exitfirst": 0, "--maxfail": 1, "--reruns": 1, "--reruns-delay": 1, "--only-rerun": 1,
    "--lf": 0, "--last-failed": 0, "--ff": 0, "--failed-first": 0, "--nf": 0, "--new-first": 0, "--sw": 0,
    "--stepwise": 0, "--pdb": 0, "--trace": 0, "-k": 1, "-m": 1, "--deselect": 1, "--collect-only": 0, "--co": 0,
    "--cov": 0, "--cov-report": 1, "--cov-config": 1, "--cov-append": 0, "--cov-branch": 0, "--cov-fail-under": 1,
    "--cov-context": 1, "--no-cov": 0, "--no-cov-on-fail": 0, "--junitxml": 1, "--junit-xml": 1, "--html": 1,
    "--self-contained-html": 0, "--json-report": 0, "--random-order": 0, "-c": 1, "--rootdir": 1, "--confcutdir": 1,
}  # fmt: skip
"""Options of a repository's `addopts` that are dropped, and how many arguments follow each."""


def without_harmful(options: Iterable[str]) -> List[str]:
    """A repository's own options, except those that select, stop, repeat, distribute or measure."""
    kept, rest = [], list(options)
    while rest:
        option = rest.pop(0)
        name = option.partition("=")[0]
        short = option[:2] if option[:1] == "-" and option[:2] != "--" else name
        if name in HARMFUL:
            if HARMFUL[name] and "=" not in option:
                del rest[:1]
        elif short in ("-n", "-k", "-m") and len(option) > 2:
            continue
        else:
            kept.append(option)
    return kept


def keep_options_in_check() -> None:
    """Patch pytest to drop harmful options from `addopts`, whichever file they come from."""
    from _pytest.config import Config

    read = Config.getini

    def getini(self: Any, name: str) -> Any:
        """See pytest."""
        value = read(self, name)
        return without_harmful(value) if name == "addopts" else value

    setattr(Config, "getini", getini)


def order_of_paths(site: List[str], repository: List[str]) -> Tuple[List[str], List[str], List[str]]:
    """`sys.path` as an installed, editable checkout has it: the standard library, the repository, other packages."""
    here = os.path.dirname(os.path.abspath(__file__))
    paths = [path for path in sys.path if os.path.abspath(path) != here]
    standard = [path for path in paths if path.endswith(".zip") or _is_standard(path)]
    others = [path for path in paths if path not in standard]
    return standard, list(repository), list(site) + others


def forget_copies(repository: List[str]) -> None:
    """Remove packages that the repository holds from `sys.modules`, where the runner imported another copy."""
    own = {name.partition(".")[0] for path in repository if os.path.isdir(path) for name in os.listdir(path)}
    kept = {"pytest", "_pytest", "pluggy", "encodings"} | set(sys.builtin_module_names)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] in own - kept and file and not _is_standard(file):
            del sys.modules[name]


def foreign_modules(repository: List[str]) -> List[str]:
    """Files outside of the repository that were imported in place of its own, even if its folder is not on the path."""
    found, here = [], os.getcwd()
    roots = [*repository, here, os.path.join(here, "src"), os.path.join(here, "lib")]
    for name, module in sorted(sys.modules.items(), key=lambda item: item[0]):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and not _is_standard(file) and not file.startswith((*repository, here + "/")):
            inside = name.replace(".", "/") + ("/__init__.py" if os.path.basename(file) == "__init__.py" else ".py")
            if file.endswith("/" + inside) and any(os.path.isfile(os.path.join(path, inside)) for path in roots):
                found.append(file)
    return found[:20]


def _is_standard(file: str) -> bool:
    roots = tuple(path for path in (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")) if path)
    return file.startswith(roots) and "-packages" not in file


def stand_in_main(pytest: Any) -> None:
    """A `__main__` like that of `python -m pytest`, so that children of multiprocessing do not import the runner."""
    main = types.ModuleType("__main__")
    main.__file__ = os.path.join(os.path.dirname(pytest.__file__), "__main__.py")
    main.__spec__ = importlib.machinery.ModuleSpec("pytest.__main__", None, origin=main.__file__)
    sys.modules["__main__"] = main
    sys.argv[:] = [main.__file__]


def main() -> None:
    """Run the tests that the configuration names, and exit without any exit hooks."""
    pipe = os.dup(2)
    length = int(sys.stdin.buffer.readline())
    config = json.loads(sys.stdin.buffer.read(length).decode())  # the end of the pipe may never come
    standard, repository, others = order_of_paths(config["site"], config["pythonpath"])
    sys.path[:] = others[: len(config["site"])] + standard + others[len(config["site"]) :]
    import pytest

    keep_options_in_check()
    os.write(pipe, b"up\n")
    os.dup2(1, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    here = os.path.dirname(os.path.abspath(__file__))
    status = subprocess.Popen(["bash", here + "/apply.sh", here], stderr=pipe).wait()
    if status:
        os._exit(status)
    reports = Reports(pipe, config["key"])
    pytest.hookimpl(trylast=True)(Plugin.pytest_collection_modifyitems)
    pytest.hookimpl(hookwrapper=True, tryfirst=True)(Plugin.pytest_runtestloop)
    reports.send("start", pytest.__version__)
    sys.path[:] = standard + repository + others
    os.environ["PYTHONPATH"] = os.pathsep.join(repository)
    forget_copies(repository)
    stand_in_main(pytest)
    files = [file for file in config["files"] if os.path.exists(file)]
    status = int(pytest.main(config["args"] + files, plugins=[Plugin(reports, config)])) if files else 5
    foreign = foreign_modules(repository)
    if foreign:
        reports.send("foreign", foreign)
    reports.send("end", status)
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
