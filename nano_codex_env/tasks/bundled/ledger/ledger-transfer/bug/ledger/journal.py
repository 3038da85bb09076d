"""The journal: entries in the order they were posted, none ever changed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date

from ledger.accounts import Chart
from ledger.errors import LedgerError, UnbalancedEntry
from ledger.money import Money


@dataclass(frozen=True)
class Posting:
    """An amount on one account: a debit if positive, a credit if negative."""

    account: str
    money: Money


@dataclass(frozen=True)
class Entry:
    """One booking of at least two postings."""

    date: date
    description: str
    postings: tuple[Posting, ...]
    reference: str = ""
    """What a repeated import knows it by; no two entries share one."""
    group: str = ""
    """Entries that share a group are one event; empty for an entry of its own."""
    number: int = 0
    """Its place in the journal, given by the journal."""
    reverses: int | None = None
    """The number of the entry that this one takes back."""

    def sums(self) -> dict[str, Money]:
        """What the postings add up to, by currency."""
        sums: dict[str, Money] = {}
        for posting in self.postings:
            currency = posting.money.currency
            sums[currency] = sums.get(currency, Money.zero(currency)) + posting.money
        return sums

    def reversal(self, on: date, reason: str = "") -> "Entry":
        """The entry that takes this one back."""
        return Entry(
            date=on,
            description=f"Void {self.number}: {reason or self.description}",
            postings=tuple(replace(one, money=-one.money) for one in self.postings),
            group=self.group,
            reverses=self.number,
        )


class Journal:
    """Entries over a chart of accounts."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self._entries: list[Entry] = []
        self._references: set[str] = set()
        self._voided: set[int] = set()

    @property
    def next_number(self) -> int:
        """The number that the next entry will have."""
        return len(self._entries) + 1

    def __iter__(self) -> Iterator[Entry]:
        """By date, and in the order posted within a day."""
        return iter(sorted(self._entries, key=lambda entry: (entry.date, entry.number)))

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, number: int) -> Entry:
        if not 1 <= number <= len(self._entries):
            raise LedgerError(f"no entry {number}")
        return self._entries[number - 1]

    def between(self, first: date, last: date) -> list[Entry]:
        """The entries of some days, both ends included."""
        return [entry for entry in self if first <= entry.date <= last]

    def has_reference(self, reference: str) -> bool:
        return reference in self._references

    def is_voided(self, number: int) -> bool:
        return number in self._voided

    def post(self, entry: Entry) -> Entry:
        """Check and append; return the entry with its number."""
        return self.post_all([entry])[0]

    def post_all(self, entries: Iterable[Entry]) -> list[Entry]:
        """Post several entries, or none of them if one is wrong."""
        entries = list(entries)
        references = [entry.reference for entry in entries if entry.reference]
        for entry in entries:
            self._check(entry)
        for reference in references:
            if reference in self._references or references.count(reference) > 1:
                raise LedgerError(f"reference {reference!r} is in use")
        posted = []
        for entry in entries:
            entry = replace(entry, number=self.next_number)
            self._entries.append(entry)
            posted.append(entry)
            if entry.reverses is not None:
                self._voided.add(entry.reverses)
        self._references.update(references)
        return posted

    def event(self, number: int) -> list[Entry]:
        """The entry and those that belong to the same event, reversals left out."""
        entry = self.entry(number)
        if not entry.group:
            return [entry]
        return [
            other
            for other in self._entries
            if (other.group, other.date) == (entry.group, entry.date) and other.reverses is None
        ]

    def void(self, number: int, *, on: date, reason: str = "") -> list[Entry]:
        """Take back an entry and the rest of its event; return the reversals.

        A reversal is dated `on`, but never before the entry that it takes back.
        """
        if self.entry(number).reverses is not None:
            raise LedgerError(f"entry {number} is a reversal and cannot be voided")
        if self.is_voided(number):
            raise LedgerError(f"entry {number} is voided already")
        return self.post_all(
            member.reversal(max(on, member.date), reason)
            for member in self.event(number)
            if not self.is_voided(member.number)
        )

    def _check(self, entry: Entry) -> None:
        if len(entry.postings) < 2:
            raise LedgerError(f"{entry.description!r} needs two postings or more")
        for posting in entry.postings:
            account = self.chart[posting.account]
            if account.currency not in (None, posting.money.currency):
                raise LedgerError(f"{account.name} holds {account.currency}, not {posting.money}")
            if account.closed_on is not None and entry.date >= account.closed_on:
                raise LedgerError(f"{account.name} is closed since {account.closed_on}")
        for off in entry.sums().values():
            if off:
                raise UnbalancedEntry(f"{entry.description!r} is off by {off}")
