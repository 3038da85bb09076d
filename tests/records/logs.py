"""Logs of episodes that nobody played, in a folder and as a line of a shard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nano_codex_env import Task
from nano_codex_env.messages import Message, assistant, dumps, tool_answer, tool_call
from nano_codex_env.records.shards import KEYS
from nano_codex_env.records.trajectory import LogWriter
from nano_codex_env.tools import default_tools

FIX = tool_call("apply_patch", search="return a - b", replace="return a + b", file="sums.py")
LOOK = tool_call("shell", cmd="cat sums.py")
DIFF = "diff --git a/sums.py b/sums.py\n--- a/sums.py\n+++ b/sums.py\n@@ -1 +1 @@\n-a\n+b\n"
ROW = {
    "instance_id": "sums-1",
    "repo": "/nowhere",
    "base_commit": "c" * 40,
    "problem_statement": "a - b",
    "patch": DIFF,
}


def record(log_dir: Path, attempt: int = 0, reward: float = 1.0) -> Path:
    """The log of a good episode, with tokens, as rollouts write it."""
    calls = [{"id": f"call0000{n}", **call} for n, call in enumerate((LOOK, FIX), 1)]
    first, second = {"prompt": [1, 2], "sampled": [3, 4]}, {"prompt": [1, 2, 3, 4, 9], "sampled": [5]}
    about = {
        "task": Task.from_row(ROW).to_row(),
        "commit": "c" * 40,
        "limits": {"max_steps": 50, "time_limit": 1800.0, "token_limit": None},
        "on_inaction": "submit",
        "notices": [],
    }
    log = LogWriter(log_dir, [tool.schema for tool in default_tools()], about)
    log.note({"attempt": attempt, "policy": {"name": "ChatPolicy", "model": "tiny"}})
    log.tokens({**first, "logprobs": [-0.5, -1.0], "finish_reason": "stop"}, 1)
    log.tokens({**second, "logprobs": [-2.0], "finish_reason": "stop"}, 2)
    said: list[Message] = [
        {"role": "system", "content": "You repair."},
        {"role": "user", "content": f"a - b, {attempt}"},
        assistant("I look.", *calls, reasoning_content="Hm."),
        *(tool_answer(call, "done\n[exit 0]") for call in calls),
        assistant(f"done {reward}"),
    ]
    for message in said:
        log.append(dumps(message))
    result = {"parts": {"reason": "all pass"}, "metrics": {"steps": 2.0}, "reward": reward, "steps": 2, "seconds": 1.5}
    log.finish(DIFF, {"stop": "submitted", **result, "counts": {"shell": [1, 1]}})
    return log.folder


def as_line(folder: Path) -> bytes:
    """A folder as a line of a shard, whatever its files hold: their bytes are put there as they are."""
    made = [b'{"episode": ' + dumps(folder.name).encode("ascii")]
    for name, key in KEYS.items():
        if not (folder / name).exists():
            continue
        raw: Any = (folder / name).read_bytes()
        if name == "diff.patch":
            raw = dumps(raw.decode("utf-8", "surrogateescape")).encode("ascii")
        elif name.endswith(".jsonl"):
            raw = b"[" + b", ".join(raw.removesuffix(b"\n").split(b"\n") if raw else []) + b"]"
        made.append(dumps(key).encode("ascii") + b": " + raw.replace(b"\n", b" "))
    return b", ".join(made) + b"}\n"
