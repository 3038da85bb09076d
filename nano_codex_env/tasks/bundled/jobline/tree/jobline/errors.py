"""What can go wrong, one class each."""


class JoblineError(Exception):
    """The base of all errors here."""


class QueueEmpty(JoblineError):
    """Nothing came up in the time that was given."""


class QueueClosed(JoblineError):
    """The queue, or the line that it belongs to, takes no more jobs."""


class DuplicateJob(JoblineError, ValueError):
    """An unfinished job has this id already."""


class UnknownJob(JoblineError, LookupError):
    """No job of this id is known, or not any more."""


class JobCancelled(JoblineError):
    """The job was taken back before it could finish."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(f"{job_id}: {reason}")
        self.job_id = job_id
        self.reason = reason
