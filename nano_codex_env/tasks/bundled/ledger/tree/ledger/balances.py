"""Balances of accounts, with everything below them, at the end of a day."""

from datetime import date

from ledger.accounts import KINDS
from ledger.errors import LedgerError
from ledger.journal import Journal
from ledger.money import Money

Amounts = dict[str, Money]
"""Money by currency, without the currencies that come to zero."""


def add_up(amounts: Amounts, money: Money) -> None:
    """Add money to the amounts in place, and keep them free of zeros."""
    total = amounts.get(money.currency, Money.zero(money.currency)) + money
    if total:
        amounts[money.currency] = total
    else:
        amounts.pop(money.currency, None)


def balances(
    journal: Journal, *, on: date | None = None, since: date | None = None
) -> dict[str, Amounts]:
    """What each account holds by itself, debits positive.

    Counted are the entries from `since` to `on`, both included; all when None.
    An account whose postings come to zero is there, with no amounts.
    """
    result: dict[str, Amounts] = {}
    for entry in journal:
        if on is not None and entry.date > on:
            continue
        if since is not None and entry.date < since:
            continue
        for posting in entry.postings:
            add_up(result.setdefault(posting.account, {}), posting.money)
    return dict(sorted(result.items()))


def balance(
    journal: Journal, account: str, *, on: date | None = None, since: date | None = None
) -> Amounts:
    """What an account and those below it hold together, debits positive."""
    if account not in KINDS and not journal.chart.under(account):
        raise LedgerError(f"no account {account!r}")
    result: Amounts = {}
    for name, amounts in balances(journal, on=on, since=since).items():
        if name == account or name.startswith(account + ":"):
            for money in amounts.values():
                add_up(result, money)
    return dict(sorted(result.items()))


def trial_balance(journal: Journal, *, on: date | None = None) -> list[tuple[str, Money, Money]]:
    """Rows of account, debit, credit in the order of the chart, one per currency."""
    held = balances(journal, on=on)
    rows = []
    for account in journal.chart:
        for currency, money in sorted(held.get(account.name, {}).items()):
            zero = Money.zero(currency)
            rows.append((account.name, max(money, zero), max(-money, zero)))
    return rows
