"""What makes a task's score hold against a forger: made once from its reference patch, kept as data.

Which tests can run apart from the code, altered twins for those that cannot, and siblings. A bundled task ships its
plan; another's is made when it is prepared, or at its first strict score, and cached.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nano_codex_env.cache import publish
from nano_codex_env.scoring.siblings import Sibling
from nano_codex_env.scoring.twins import Twin
from nano_codex_env.task import Task
from nano_codex_env.tasks.libraries import ROOT

_FORMAT = 3


@dataclass(frozen=True)
class Plan:
    """See the module."""

    separate: tuple[str, ...] = ()
    """Tests that hold when the reference patch is in another process, and without it fail if they should."""
    asked: tuple[str, ...] = ()
    """The kinds of operations that these tests ask of the reference patch."""
    twins: tuple[Twin, ...] = ()
    imports: tuple[Any, ...] = ()
    """What the tests' imports ask; comes before any sibling."""
    siblings: tuple[Sibling, ...] = ()
    note: str = ""
    """Why there is nothing more in it."""

    def to_json(self, key: str) -> str:
        """As it is kept; `key` says for which task."""
        return json.dumps({"key": key, **asdict(self)}, indent=None, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """What `to_json` wrote."""
        row = json.loads(text)
        twins = tuple(Twin(**{**twin, "tests": tuple(twin["tests"])}) for twin in row["twins"])
        siblings = tuple(Sibling(**sibling) for sibling in row["siblings"])
        return cls(tuple(row["separate"]), tuple(row["asked"]), twins, tuple(row["imports"]), siblings, row["note"])


def key_of(task: Task) -> str:
    """A name for all that a plan depends on; the same on every machine for a repository of the same content."""
    parts = [
        task.base_commit,
        task.patch,
        task.test_patch,
        task.FAIL_TO_PASS,
        task.PASS_TO_PASS,
        dict(task.environment),
    ]
    return hashlib.sha256(json.dumps([_FORMAT, *parts], sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()[
        :24
    ]


def order_of(task: Task, number: int) -> int:
    """The seed of a shuffled run: by a hash of the task, so that every patch meets the same orders."""
    return int.from_bytes(hashlib.sha256(f"{task.instance_id} {number}".encode()).digest()[:8], "big")


def shipped_path(task: Task) -> Path | None:
    """Where a bundled task's plan lies, whether or not it is there."""
    return next((path.parent / "integrity.json" for path in ROOT.glob(f"*/{task.instance_id}/task.toml")), None)


def plan_of(task: Task, cache: Path, make: Callable[[Task], Plan]) -> Plan:
    """The task's plan: shipped, cached, or made by `make` and cached."""
    key = key_of(task)
    shipped = shipped_path(task) if all(char not in task.instance_id for char in "/*?[") else None
    if shipped and shipped.is_file():
        text = shipped.read_text(encoding="utf-8")
        if json.loads(text)["key"] == key:
            return Plan.from_json(text)

    def build(folder: Path) -> None:
        (folder / "plan.json").write_text(make(task).to_json(key), encoding="utf-8")

    folder = publish(cache / "plans" / key, build)
    return Plan.from_json((folder / "plan.json").read_text(encoding="utf-8"))
