"""How the runs in tests/golden/runs were made: by the version of the day, once.

They are what earlier versions left behind, so nothing makes them anew while they are there. To replace one that must
be another: delete its folder and run `pytest tests/test_golden.py --golden`. The same version makes the same bytes:
times are made equal, folders are numbered, and the repository of a bundled task, which each machine makes for itself,
is left out.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nano_codex_env import DiffSimilarity, Idle, Oracle, Reply, Scripted, Task, rollouts
from nano_codex_env.cli import main
from nano_codex_env.errors import PolicyError
from tests.tour import look, patch

RUN = ("pocket-nautical", "pocket-sorting", "pocket-tint", "pocket-shorten")
"""Tasks of the recorded runs."""

_PLAY = ["run", "--concurrency", "1", "--out"]
_SIMILARITY = ["--reward", "similarity"]
_TORN = 40
"""Bytes that are missing of a torn line."""


class _Broken:
    """The reference patch, by a server that goes away after one answer."""

    about: Mapping[str, Any] = {"name": "Oracle"}

    def __init__(self, tasks: Sequence[Task], then: Callable[[], object] = int) -> None:
        self._policy, self._then = Oracle(tasks), then

    def __call__(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> Reply:
        if messages[-1]["role"] == "tool":
            self._then()
            raise PolicyError("the server is gone")
        return self._policy([dict(message) for message in messages], [dict(tool) for tool in tools])


def _config(run: str, **changes: Any) -> dict[str, Any]:
    """The config of a run, changed."""
    config: dict[str, Any] = json.loads(Path(run, "config.json").read_text(encoding="ascii"))
    return config | changes


def _complete(tasks: Sequence[Task]) -> None:
    """Two tasks, three attempts at each: the reference patch, a wrong patch, nothing."""
    assert main([*_PLAY, "complete", "--only", *RUN[:2]]) == 0
    wrong = Scripted([*look("ls", "false"), patch("none.py", "a", "b"), patch("notes.txt", "", "It is hard.\n")])
    config = _config("complete", n=3)
    for n, policy in ((2, wrong), (3, Idle())):
        rollouts(tasks[:2], policy, n=n, out="complete", resume=True, config=config, concurrency=1, progress=False)


def _resumable(tasks: Sequence[Task]) -> None:
    """Three tasks, two attempts at each: three have a reward, one is void, two are missing."""
    assert main([*_PLAY, "resumable", *_SIMILARITY, "--only", *RUN[:2]]) == 0
    assert main([*_PLAY, "resumable", "--only", RUN[0], "-n", "2", "--resume"]) == 0
    config = _config("resumable", only=list(RUN[:3]), n=2)
    rollouts(
        tasks[1:2], _Broken(tasks), n=2, reward=DiffSimilarity(), out="resumable", resume=True, config=config,
        progress=False,
    )  # fmt: skip


def _torn(tasks: Sequence[Task]) -> None:
    """Four tasks: two have a reward; the process was killed while it wrote the third row and the log of the fourth."""
    assert main([*_PLAY, "torn", *_SIMILARITY, "--only", *RUN[:3]]) == 0
    config = _config("torn", only=list(RUN))
    killed = _Broken(tasks, lambda: shutil.copytree("torn", "as-it-was"))
    rollouts(tasks[3:], killed, reward=DiffSimilarity(), out="torn", resume=True, config=config, progress=False)
    shutil.rmtree("torn")
    Path("as-it-was").rename("torn")


MAKERS: Mapping[str, Callable[[Sequence[Task]], None]] = {
    "complete": _complete,
    "resumable": _resumable,
    "torn": _torn,
}
"""Name of a run -> what makes it in the current folder."""


def make_run(name: str, tasks: Sequence[Task], target: Path) -> None:
    """Make a run in the current folder and put what is the same at all times to `target`."""
    MAKERS[name](tasks)
    run = Path(name)
    (run / ".gitignore").unlink()
    _normalize(run)
    if name == "torn":
        [killed] = [path.parent for path in run.glob("*/messages.jsonl") if not (path.parent / "diff.patch").exists()]
        for path in (killed / "messages.jsonl", run / "results.jsonl"):
            path.write_bytes(path.read_bytes()[:-_TORN])
    shutil.copytree(run, target)
    shutil.rmtree(run)


def _normalize(run: Path) -> None:
    """Number the folders by task and attempt; make all times equal; order the rows."""
    logs = {path.parent: json.loads(path.read_text(encoding="ascii")) for path in run.glob("*/metadata.json")}
    names = {}
    for number, folder in enumerate(sorted(logs, key=lambda folder: _key(logs[folder]))):
        about = logs[folder] | {"started": 1767225600.0}
        about["task"]["repo"] = ""
        about["versions"] = dict.fromkeys(about["versions"], "0")
        if "seconds" in about:
            about["seconds"] = 1.0
        (folder / "metadata.json").write_text(json.dumps(about, indent=2) + "\n", encoding="ascii")
        names[str(folder)] = str(folder.rename(run / f"20260101-000000-000-{number:08x}"))
    rows = [json.loads(line) for line in (run / "results.jsonl").read_text(encoding="ascii").splitlines()]
    rows = [row | {"folder": names[row["folder"]], "seconds": 1.0} for row in rows]
    rows.sort(key=lambda row: (RUN.index(row["instance_id"]), row["attempt"]))
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (run / "results.jsonl").write_text(text, encoding="ascii")


def _key(about: Mapping[str, Any]) -> tuple[int, int]:
    return RUN.index(about["task"]["instance_id"]), about["attempt"]
