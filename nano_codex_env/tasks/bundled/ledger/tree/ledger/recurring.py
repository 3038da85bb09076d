"""Entries that come back: rent each month, insurance each year."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from ledger.errors import LedgerError
from ledger.journal import Entry, Journal, Posting
from ledger.months import add_months

MONTHS = {"monthly": 1, "quarterly": 3, "yearly": 12}


@dataclass(frozen=True)
class Recurring:
    """A rule for an entry that comes back."""

    name: str
    """Names the rule in the references of its entries, so it must stay."""
    postings: tuple[Posting, ...]
    start: date
    every: str = "monthly"
    """weekly, monthly, quarterly or yearly"""
    end: date | None = None
    """The last day on which it may fall due."""
    description: str = ""

    def __post_init__(self) -> None:
        if self.every != "weekly" and self.every not in MONTHS:
            raise LedgerError(f"{self.name}: cannot come back {self.every!r}")
        if not self.name or "/" in self.name:
            raise LedgerError(f"not a name for a recurring entry: {self.name!r}")

    def due(self, until: date) -> Iterator[date]:
        """The days on which it falls due, each counted from the start.

        Counting from the day before would let a 31st stay a 29th after February.
        """
        last = until if self.end is None else min(until, self.end)
        index = 0
        while (day := self._day(index)) <= last:
            yield day
            index += 1

    def entry(self, day: date) -> Entry:
        return Entry(
            date=day,
            description=self.description or self.name,
            postings=self.postings,
            reference=f"{self.name}/{day.isoformat()}",
        )

    def _day(self, index: int) -> date:
        if self.every == "weekly":
            return self.start + timedelta(weeks=index)
        return add_months(self.start, MONTHS[self.every] * index)


def post_due(journal: Journal, rules: Iterable[Recurring], *, until: date) -> list[Entry]:
    """Post what is due and not there yet, the oldest first.

    An entry that was voided counts as there: who voids this month's rent does
    not want it back with the next call.
    """
    missing = [
        entry
        for rule in rules
        for entry in map(rule.entry, rule.due(until))
        if not journal.has_reference(entry.reference)
    ]
    return journal.post_all(sorted(missing, key=lambda entry: (entry.date, entry.reference)))
