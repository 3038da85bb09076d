"""What can go wrong, as exceptions with one root."""


class LedgerError(Exception):
    """The books cannot be kept as asked."""


class UnbalancedEntry(LedgerError):
    """The postings of an entry do not add up to zero."""


class ImportFailed(LedgerError):
    """A bank statement could not be read."""
