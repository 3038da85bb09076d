"""Reports for the members' meeting: rows of plain data, and a text table of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from ledger.balances import add_up, balance, balances
from ledger.journal import Journal
from ledger.money import Money
from ledger.months import Month


@dataclass(frozen=True)
class StatementLine:
    """One posting of an account, and what the account held after it."""

    date: date
    number: int
    description: str
    money: Money
    running: Money


def income_statement(
    journal: Journal, first: Month, last: Month | None = None, *, currency: str
) -> list[tuple]:
    """Rows of account, an amount per month, and their total, in one currency.

    Income and expenses are both positive. Accounts without a posting in these months
    are left out. The last row is the result: income less expenses.
    """
    months = first.until(first if last is None else last)
    held = [balances(journal, since=month.first, on=month.last) for month in months]
    zero = Money.zero(currency)
    result = [zero] * len(months)
    rows: list[tuple] = []
    for account in journal.chart:
        if account.kind not in ("Income", "Expenses"):
            continue
        if not any(currency in of_month.get(account.name, {}) for of_month in held):
            continue
        amounts = [of_month.get(account.name, {}).get(currency, zero) for of_month in held]
        result = [so_far - amount for so_far, amount in zip(result, amounts)]
        shown = [amount.times(account.sign) for amount in amounts]
        rows.append((account.name, *shown, sum(shown, zero)))
    rows.append(("Result", *result, sum(result, zero)))
    return rows


def balance_sheet(journal: Journal, on: date, *, currency: str) -> list[tuple[str, Money]]:
    """Rows of what the club has and owes, and what is its own.

    The last two rows are the equity with the result so far, and the check: assets
    less liabilities less equity, zero in books that are kept in one currency.
    """
    held = balances(journal, on=on)
    rows = []
    totals: dict[str, dict[str, Money]] = {}
    for account in journal.chart:
        money = held.get(account.name, {}).get(currency)
        if money is None:
            continue
        add_up(totals.setdefault(account.kind, {}), money)
        if account.kind in ("Assets", "Liabilities"):
            rows.append((account.name, money.times(account.sign)))
    zero = Money.zero(currency)
    total = {kind: amounts.get(currency, zero) for kind, amounts in totals.items()}
    own = sum((total.get(kind, zero) for kind in ("Equity", "Income", "Expenses")), zero)
    check = own + total.get("Assets", zero) + total.get("Liabilities", zero)
    return [*rows, ("Equity", -own), ("Check", check)]


def account_statement(
    journal: Journal, account: str, month: Month, *, currency: str
) -> tuple[Money, list[StatementLine], Money]:
    """The opening balance of a month, its postings, and the closing balance."""
    zero = Money.zero(currency)
    before = month.plus(-1).last
    opening = running = balance(journal, account, on=before).get(currency, zero)
    lines = []
    for entry in journal.between(month.first, month.last):
        for posting in entry.postings:
            inside = posting.account == account or posting.account.startswith(account + ":")
            if inside and posting.money.currency == currency:
                running += posting.money
                known = (entry.date, entry.number, entry.description)
                lines.append(StatementLine(*known, posting.money, running))
    return opening, lines, running


def render(rows: Sequence[Sequence], header: Sequence[str] = ()) -> str:
    """A text table: the first column to the left, the others to the right."""
    table = [[_cell(cell) for cell in row] for row in ([header] if header else []) + list(rows)]
    if not table:
        return ""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in table
    ]
    if header:
        lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return f"{value.amount:,f}" if isinstance(value, Money) else str(value)
