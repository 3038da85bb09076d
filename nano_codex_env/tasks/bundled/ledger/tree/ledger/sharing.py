"""Costs that the club has paid, charged on to its members."""

from collections.abc import Mapping
from datetime import date

from ledger.errors import LedgerError
from ledger.journal import Entry, Journal, Posting
from ledger.money import Money

MEMBERS = "Assets:Members"
"""Below it, each member has an account of what they owe the club."""


def member_account(member: str) -> str:
    if not member or ":" in member:
        raise LedgerError(f"not a member's name: {member!r}")
    return f"{MEMBERS}:{member}"


def share_cost(
    journal: Journal,
    money: Money,
    weights: Mapping[str, int],
    *,
    on: date,
    paid_from: str,
    description: str,
    levy: str | None = None,
) -> Entry:
    """Charge money to members by weight; a negative amount gives it back to them.

    The levy is a percentage that the members pay on top, for the club itself; it
    is shared like the cost and goes to Income:Levies.
    """
    if not weights:
        raise LedgerError(f"{description!r} has nobody to share it")
    extra = money.percent(levy) if levy is not None else Money.zero(money.currency)
    members = [member_account(member) for member in weights]
    for account in members:
        journal.chart.ensure(account)
    parts = (money + extra).allocate(list(weights.values()))
    postings = [Posting(account, part) for account, part in zip(members, parts) if part]
    postings.append(Posting(paid_from, -money))
    if extra:
        journal.chart.ensure("Income:Levies")
        postings.append(Posting("Income:Levies", -extra))
    return journal.post(Entry(on, description, tuple(postings)))


def owed(journal: Journal, member: str, currency: str) -> Money:
    """What a member owes the club; negative when the club owes them."""
    account = member_account(member)
    total = Money.zero(currency)
    for entry in journal:
        for posting in entry.postings:
            if posting.account == account and posting.money.currency == currency:
                total += posting.money
    return total
