"""Runs inside the box: pytest over chosen tests, and a report of each phase over a pipe that is not stdout.

Started as `python -P -s runner.py` with its configuration on stdin and the report pipe as descriptor 2. It imports
nothing of ours; the repository comes last on sys.path. Each report is a line `digest json`, chained by a key: no line
can be left out, doubled or put elsewhere without the host seeing it.
"""

import hashlib
import json
import os
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

    def __init__(self, reports: Reports, wanted: set[str] | None, seed: int | None, canaries: Any) -> None:
        self._reports, self._wanted, self._seed, self._canaries = reports, wanted, seed, canaries

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

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Send the phase; subtests have a context, and their test reports them itself."""
        expected = hasattr(report, "wasxfail")
        self._reports.send("phase", report.nodeid, report.when, report.outcome, expected, hasattr(report, "context"))


def main() -> NoReturn:
    """Run the tests that the configuration names, and leave without running anybody's exit hooks."""
    pipe = os.dup(2)
    os.dup2(1, 2)
    config = json.loads(sys.stdin.buffer.read())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    reports = Reports(pipe, config["key"])
    sys.path[:0] = config["site"]
    import pytest

    pytest.hookimpl(trylast=True)(Plugin.pytest_collection_modifyitems)
    pytest.hookimpl(wrapper=True, tryfirst=True)(Plugin.pytest_runtestloop)
    reports.send("start", pytest.__version__)
    sys.path += config["pythonpath"]
    files = [file for file in config["files"] if os.path.exists(file)]
    plugin = Plugin(reports, None if config["ids"] is None else set(config["ids"]), config["seed"], config["canaries"])
    status = int(pytest.main([*config["args"], *files], plugins=[plugin])) if files else 5
    reports.send("end", status)
    sys.stdout.flush()
    os._exit(status)


main()
