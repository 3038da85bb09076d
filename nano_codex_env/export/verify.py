"""Run the hidden tests in a Harbor task's container and write 1 or 0 as the reward.

Started as `python -I verify.py REWARD_FILE` in the repository, with `tests.json` and `hidden/` next to this file. A
FAIL_TO_PASS test must pass; a PASS_TO_PASS test may be skipped. It needs only Python and pytest.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any


class Outcomes:
    """A pytest plugin that selects the wanted tests and records the outcome of each phase."""

    def __init__(self, wanted: set[str]) -> None:
        self._wanted = wanted
        self.found: dict[str, list[str]] = {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Select the wanted tests."""
        items[:] = [item for item in items if item.nodeid in self._wanted]

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Record a phase: setup, call or teardown."""
        self.found.setdefault(report.nodeid, []).append(report.outcome)

    def status(self, test: str) -> str:
        """The outcome of a test: passed, skipped, failed or missing."""
        phases = self.found.get(test, ["missing"])
        return next((word for word in ("missing", "failed", "skipped") if word in phases), "passed")


def lay_over(repository: Path, hidden: Path, removed: list[str]) -> None:
    """Copy the hidden tests into the repository and replace whatever is in their place."""
    for path in removed:
        clear(repository / path)
    for source in sorted(hidden.rglob("*")):
        target = repository / source.relative_to(hidden)
        if source.is_dir() and not source.is_symlink():
            if target.is_symlink() or not target.is_dir():
                clear(target)
                target.mkdir()
        else:
            clear(target)
            shutil.copy(source, target, follow_symlinks=False)


def clear(path: Path) -> None:
    """Remove a file, a link or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():
        path.unlink()


def main() -> None:
    """Run the tests; the reward is 0 until the very end."""
    here, reward = Path(__file__).parent, Path(sys.argv[1])
    config = json.loads((here / "tests.json").read_text(encoding="ascii"))
    import pytest

    lay_over(Path.cwd(), here / "hidden", config["removed"])
    wanted = [*config["fail_to_pass"], *config["pass_to_pass"]]
    files = [file for file in dict.fromkeys(test.split("::")[0] for test in wanted) if Path(file).exists()]
    reward.write_text("0\n", encoding="ascii")
    sys.path += [os.path.abspath(path) for path in config["pythonpath"]]
    outcomes = Outcomes(set(wanted))
    options = ["-q", "-pno:cacheprovider", "-oaddopts=", "-ofilterwarnings=", "--rootdir=.", "--confcutdir=."]
    if files:
        pytest.main([*options, *files], plugins=[outcomes])
    failed = [test for test in config["fail_to_pass"] if outcomes.status(test) != "passed"]
    failed += [test for test in config["pass_to_pass"] if outcomes.status(test) not in ("passed", "skipped")]
    print(f"{len(wanted) - len(failed)} of {len(wanted)} tests have the wanted outcome", *failed, sep="\n")
    if not failed:
        reward.write_text("1\n", encoding="ascii")


if __name__ == "__main__":
    main()
