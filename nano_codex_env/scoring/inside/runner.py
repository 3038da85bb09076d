"""Runs inside the box: pytest over chosen tests, and a report of each phase over a pipe that is not stdout.

Started as `python -P -s runner.py` with folders for `sys.path` as arguments and the report pipe as descriptor 2. It
imports pytest, waits for its configuration on stdin, says that it is up, and only then has the patch and the tests put
into the tree. The repository comes last on sys.path. Each report is a line `digest json`, chained by a key: no line can
be left out, doubled or put elsewhere without the host seeing it. With a `bridge` in the configuration the code under
test is in another box, and nothing of it is imported here.
"""

import gc
import hashlib
import importlib
import inspect
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, NoReturn


class Reports:
    """The pipe to the host."""

    def __init__(self, descriptor: int, key: str) -> None:
        self._descriptor, self._digest = descriptor, key

    def send(self, *values: object) -> None:
        """Send one record; the digest covers all records so far."""
        text = json.dumps(values)
        self._digest = hashlib.sha256((self._digest + text).encode()).hexdigest()
        data = f"{self._digest} {text}\n".encode()
        while data:
            data = data[os.write(self._descriptor, data) :]


class Plugin:
    """Chooses the wanted tests, orders them, and reports each phase as it ends."""

    def __init__(self, reports: Reports, config: dict[str, Any], bridge: Any) -> None:
        self._reports, self._bridge, self._started = reports, bridge, False
        self._wanted = None if config["ids"] is None else set(config["ids"])
        self._seed, self._canaries = config["seed"], config["canaries"]

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Keep what is wanted; shuffle it where a seed is given."""
        if self._wanted is not None:
            items[:] = [item for item in items if item.nodeid in self._wanted]
        if self._seed is not None:
            items.sort(
                key=lambda item: hashlib.sha256(
                    f"{self._seed} {item.nodeid}".encode("utf-8", "surrogateescape")
                ).digest()
            )

    def pytest_runtestloop(self, session: Any) -> Any:
        """After tests that all passed, when nothing can be disturbed any more, run the canaries as if two of them."""
        done = yield
        try:
            items = self._items(session) if self._canaries and session.items and not session.testsfailed else []
            for number, item in enumerate(items):
                following = items[number + 1] if number + 1 < len(items) else None
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        except (Exception, SystemExit) as error:  # noqa: BLE001 (a hook of the repository's that knows no such test)
            print(f"no canaries: {error!r}")
        return done

    def _items(self, session: Any) -> list[Any]:
        import pytest

        path = Path.cwd() / self._canaries["path"]
        parent = next(
            (item.getparent(pytest.Module).parent for item in session.items if item.path.parent == path.parent), session
        )
        module = types.ModuleType(path.stem)
        exec(compile(self._canaries["text"], str(path), "exec"), module.__dict__)
        node = pytest.Module.from_parent(parent, path=path)
        node.obj = module
        return list(session.genitems(node))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """What a test asks of the other box is its own from here."""
        if self._bridge:
            if self._bridge.keeps and not self._started:  # what the imports asked
                self._reports.send("trace", "", json.dumps(self._bridge.trace))
            self._started, self._bridge.trace, self._bridge.broken = True, [], ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Send the phase; subtests have a context, and their test reports them itself."""
        expected, outcome = hasattr(report, "wasxfail"), report.outcome
        if self._bridge and self._bridge.broken:
            outcome = "failed"
            print(f"{report.nodeid}: cannot cross: {self._bridge.broken}")
        self._reports.send("phase", report.nodeid, report.when, outcome, expected, hasattr(report, "context"))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Send what the test asked, if that is wanted."""
        if self._bridge and self._bridge.keeps:
            self._reports.send("trace", nodeid, json.dumps(self._bridge.trace))


def _bridge(config: dict[str, Any] | None) -> Any:
    """The line to the code under test, with stubs in its place; None: it is in this process."""
    if config is None:
        return None
    sys.path.insert(0, str(Path(__file__).parent))
    from nano_codex_env.scoring.inside import replay, stubs, wire  # noqa: F401 (`replay` is used later)

    sys.path.pop(0)
    bridge = stubs.Bridge(wire.Line(3, 4), keeps=config["trace"], known=config["known"])
    sys.meta_path.insert(0, stubs.Finder(bridge, config["packages"]))
    return bridge


def _replay(bridge: Any, siblings: list[Any], reports: Reports) -> None:
    """Send what the code under test answers to calls that no test makes; the first operations are the imports'."""
    from nano_codex_env.scoring.inside import replay

    found: dict[int, int] = {}
    imports, *others = siblings
    replay.replay(bridge, imports, found)
    for number, operations in enumerate(others):
        reports.send("sibling", number, json.dumps(replay.replay(bridge, operations, dict(found))))


def _import_pytest() -> Any:
    """The module, with all that a run of it imports; a run that finds this done begins in a fraction of the time."""
    import pytest
    from _pytest import config

    for name in getattr(config, "default_plugins", ()):
        importlib.import_module(f"_pytest.{name}")
    importlib.import_module("pdb")
    inspect.getmodule(_import_pytest.__code__, "nowhere")  # looks at all modules, and remembers; the canaries need it
    gc.collect()
    gc.freeze()  # what is imported stays: the collections that pytest asks for need not look at it
    return pytest


def main() -> NoReturn:
    """Run the tests that the configuration names, and leave without running anybody's exit hooks."""
    pipe = os.dup(2)
    sys.path[:0], sys.argv[1:] = sys.argv[1:], []
    pytest = _import_pytest()
    config = json.loads(sys.stdin.buffer.read())
    os.write(pipe, b"up\n")
    os.dup2(1, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    here = os.path.dirname(os.path.abspath(__file__))
    if status := subprocess.run(["bash", f"{here}/apply.sh", here], stderr=pipe, check=False).returncode:
        os._exit(status)
    reports = Reports(pipe, config["key"])
    pytest.hookimpl(trylast=True)(Plugin.pytest_collection_modifyitems)
    pytest.hookimpl(wrapper=True, tryfirst=True)(Plugin.pytest_runtestloop)
    bridge = _bridge(config["bridge"])
    reports.send("start", pytest.__version__)
    sys.path += config["pythonpath"]
    files = [file for file in config["files"] if os.path.exists(file)]
    plugin = Plugin(reports, config, bridge)
    status = int(pytest.main([*config["args"], *files], plugins=[plugin])) if files else 5
    if bridge and bridge.keeps:
        reports.send("asked", sorted(bridge.asked))
    if bridge and config["bridge"]["siblings"]:
        _replay(bridge, config["bridge"]["siblings"], reports)
    reports.send("end", status)
    sys.stdout.flush()
    os._exit(status)


main()
