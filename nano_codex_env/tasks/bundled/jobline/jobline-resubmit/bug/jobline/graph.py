"""Which jobs wait for which."""

from collections import deque
from collections.abc import Iterable

from jobline.errors import DuplicateJob, UnknownJob


class JobGraph:
    """The unfinished jobs and the edges between them.

    A job leaves the graph when it finishes or is dropped; its id may then be used for another
    job. New jobs can wait only for jobs that are here already, so there are no cycles.

    It is not thread-safe; the board locks around it.
    """

    def __init__(self) -> None:
        self._missing: dict[str, int] = {}
        self._children: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self._children)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._children

    def add(self, job_id: str, after: Iterable[str] = ()) -> bool:
        """Add a job that waits for others; return whether it can run at once."""
        if job_id in self:
            raise DuplicateJob(job_id)
        parents = list(dict.fromkeys(after))
        for parent in parents:
            if parent not in self:
                raise UnknownJob(parent)
        for parent in parents:
            self._children[parent].append(job_id)
        self._missing[job_id] = len(parents)
        self._children[job_id] = []
        return not parents

    def finish(self, job_id: str) -> list[str]:
        """Take out a job that succeeded; return those that can run now, oldest first."""
        freed = []
        for child in self._remove(job_id):
            if child in self:
                self._missing[child] -= 1
                if self._missing[child] == 0:
                    freed.append(child)
        return freed

    def drop(self, job_id: str) -> list[str]:
        """Take out a job that will not succeed, and all that wait for it, directly or not.

        Return those others, the nearest ones first.
        """
        dropped = []
        pending = deque(self._remove(job_id))
        while pending:
            child = pending.popleft()
            if child in self:
                dropped.append(child)
                pending.extend(self._remove(child))
        return dropped

    def _remove(self, job_id: str) -> list[str]:
        """Take one job out; return those that wait for it."""
        if job_id not in self:
            raise UnknownJob(job_id)
        del self._missing[job_id]
        return self._children.pop(job_id)
