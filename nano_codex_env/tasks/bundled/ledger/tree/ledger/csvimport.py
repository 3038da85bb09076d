"""Bank statements in CSV, as the banks print them, into the journal."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from ledger.errors import ImportFailed, LedgerError
from ledger.journal import Entry, Journal, Posting
from ledger.money import Money


@dataclass(frozen=True)
class Profile:
    """How a bank prints its statements: names of columns and the notation."""

    currency: str
    delimiter: str = ","
    decimal: str = "."
    date_format: str = "%Y-%m-%d"
    date: str = "Date"
    payee: str = "Payee"
    amount: str | None = "Amount"
    """The column of signed amounts; None where debit and credit are apart."""
    debit: str = "Debit"
    credit: str = "Credit"
    inverted: bool = False
    """The bank prints money that leaves us as positive."""
    status: str | None = None
    """The column that tells pending rows, where the bank has one."""
    pending: frozenset[str] = frozenset({"pending", "reserved"})

    @property
    def amounts(self) -> list[str]:
        return [self.debit, self.credit] if self.amount is None else [self.amount]

    @property
    def columns(self) -> list[str]:
        return [self.date, self.payee, *self.amounts, *([self.status] if self.status else [])]


@dataclass(frozen=True)
class Rule:
    """Rows whose payee contains the text belong to the account."""

    text: str
    account: str

    def matches(self, payee: str) -> bool:
        return self.text.casefold() in payee.casefold()


@dataclass(frozen=True)
class Line:
    """One movement of a statement; positive money came in."""

    row: int
    date: date
    payee: str
    money: Money


@dataclass
class ImportResult:
    """What an import did."""

    posted: list[Entry] = field(default_factory=list)
    skipped: list[Line] = field(default_factory=list)
    """Lines that were in the journal already."""


def read_statement(text: str, profile: Profile) -> Iterator[Line]:
    """The movements of a statement, in its order."""
    source = io.StringIO(text.removeprefix("\ufeff"), newline="")
    reader = csv.DictReader(source, delimiter=profile.delimiter, restval="")
    missing = [name for name in profile.columns if name not in (reader.fieldnames or ())]
    if missing:
        raise ImportFailed(f"the statement has no column {', '.join(map(repr, missing))}")
    day: date | None = None
    for number, cells in _rows(reader, profile):
        try:
            if cells[profile.date]:
                day = datetime.strptime(cells[profile.date], profile.date_format).date()
            if not _moves_money(cells, profile):
                continue
            if day is None:
                raise ImportFailed("no date here or above")
            money = _money(cells, profile)
        except (ValueError, LedgerError) as error:
            raise ImportFailed(f"line {number}: {error}") from error
        yield Line(number, day, " ".join(cells[profile.payee].split()), money)


def import_statement(
    journal: Journal,
    text: str,
    profile: Profile,
    *,
    account: str,
    rules: Sequence[Rule] = (),
) -> ImportResult:
    """Post the lines of a statement that are not in the journal yet.

    The whole statement is read before anything is posted. Lines that no rule
    matches go to Income:Unsorted or Expenses:Unsorted.
    """
    result = ImportResult()
    entries = []
    seen: Counter[str] = Counter()
    for line in list(read_statement(text, profile)):
        key = f"{account}|{line.date}|{line.money.amount}|{line.money.currency}|{line.payee}"
        seen[key] += 1
        reference = f"{key}|{seen[key]}"
        if journal.has_reference(reference):
            result.skipped.append(line)
            continue
        other = _other_account(line, rules)
        journal.chart.ensure(other)
        postings = (Posting(account, line.money), Posting(other, -line.money))
        entries.append(Entry(line.date, line.payee, postings, reference=reference))
    result.posted = journal.post_all(entries)
    return result


def parse_amount(text: str, currency: str, *, decimal: str = ".") -> Money:
    """An amount as banks print it: 1.234,56 or -5.00 or 5.00- or (5.00)."""
    digits = text.replace(" ", "").replace("\u00a0", "").replace("'", "")
    negative = False
    if digits.startswith("(") and digits.endswith(")"):
        digits, negative = digits[1:-1], True
    elif digits.endswith("-"):
        digits, negative = digits[:-1], True
    digits = digits.replace("." if decimal == "," else ",", "").replace(decimal, ".")
    money = Money.of(digits, currency)
    return -money if negative else money


def _rows(reader: csv.DictReader, profile: Profile) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows by line number, without the header that is repeated on each page."""
    for row in reader:
        cells = {name: row[name].strip() for name in profile.columns}
        if cells[profile.date] != profile.date:
            yield reader.line_num, cells


def _moves_money(cells: dict[str, str], profile: Profile) -> bool:
    """False for notices, which have no amount, and for what is pending."""
    if profile.status is not None and cells[profile.status].casefold() in profile.pending:
        return False
    return any(cells[name] for name in profile.amounts)


def _money(cells: dict[str, str], profile: Profile) -> Money:
    total = Money.zero(profile.currency)
    for name in profile.amounts:
        if cells[name]:
            money = parse_amount(cells[name], profile.currency, decimal=profile.decimal)
            total += -money if profile.amount is None and name == profile.debit else money
    return -total if profile.inverted else total


def _other_account(line: Line, rules: Sequence[Rule]) -> str:
    for rule in rules:
        if rule.matches(line.payee):
            return rule.account
    return "Income:Unsorted" if line.money.amount > 0 else "Expenses:Unsorted"
