"""The text similarity of a patch and the reference patch: a cheap measure that runs no test."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from nano_codex_env.diff import split
from nano_codex_env.errors import TaskError
from nano_codex_env.messages import Message
from nano_codex_env.score import Score
from nano_codex_env.tasks.task import Task


class DiffSimilarity:
    """The sum of difflib's ratios over the files of the reference patch, divided by the larger number of files.

    Not for training: `check_reward` finds that a patch which breaks the file is worth nearly as much as the reference.
    """

    reads_transcript = False
    version = "1"

    def __call__(self, task: Task, transcript: Sequence[Message], diff: str) -> Score:
        """See `Reward`.

        Raises:
            TaskError: the task has no reference patch.
        """
        reference, ours = _by_file(task.patch), _by_file(diff)
        if not reference:
            raise TaskError(f"{task.instance_id} has no reference patch to compare with")
        ratios = [_ratio(ours.get(path, ""), text) for path, text in reference.items()]
        value = sum(ratios) / max(len(reference), len(ours))
        return Score(value, {"similarity": value, "files_in_common": float(len(reference.keys() & ours.keys()))})


def _ratio(ours: str, reference: str) -> float:
    """Difflib's ratio; of a much longer text only the head is compared, since the whole could take hours."""
    compared = ours[: 4 * len(reference) + 1000]
    matcher = difflib.SequenceMatcher(None, compared, reference, autojunk=False)
    matching = sum(block.size for block in matcher.get_matching_blocks())
    length = len(ours) + len(reference)
    return 2.0 * matching / length if length else 1.0


def _by_file(patch: str) -> dict[str, str]:
    """Path -> its hunks; blob ids and modes say nothing about similarity."""
    texts: dict[str, str] = {}
    for part in split(patch):
        lines = part.text.split("\n")
        first = next((n for n, line in enumerate(lines) if line.startswith("@@ ")), len(lines))
        texts[part.paths[-1]] = texts.get(part.paths[-1], "") + "\n".join(lines[first:])
    return texts
