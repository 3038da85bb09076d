"""Money moved between the club's own accounts, by way of an account in transit."""

from dataclasses import dataclass, replace
from datetime import date

from ledger.errors import LedgerError
from ledger.journal import Entry, Journal, Posting
from ledger.money import Money

IN_TRANSIT = "Assets:In transit"
EXCHANGE = "Equity:Exchange"
FEES = "Expenses:Bank fees"


@dataclass(frozen=True)
class Transit:
    """Money that has left one account and not reached the other."""

    number: int
    """The number of the departure."""
    since: date
    money: Money


def transfer(
    journal: Journal,
    source: str,
    target: str,
    money: Money,
    *,
    on: date,
    arrives: date | None = None,
    fee: Money | None = None,
    rate: str | None = None,
    description: str = "",
) -> tuple[Entry, Entry]:
    """Move money from source to target; return the departure and the arrival.

    The fee is taken from the source on top. The rate is what one unit of the money
    buys in the currency of the target account.
    """
    arrives = on if arrives is None else arrives
    if source == target:
        raise LedgerError(f"cannot transfer from {source} to itself")
    if money <= Money.zero(money.currency):
        raise LedgerError(f"cannot transfer {money}")
    if arrives < on:
        raise LedgerError(f"a transfer of {on} cannot arrive on {arrives}")

    journal.chart.ensure(IN_TRANSIT)
    outgoing = [Posting(source, -money), Posting(IN_TRANSIT, money)]
    if fee:
        journal.chart.ensure(FEES)
        outgoing += [Posting(source, -fee), Posting(FEES, fee)]
    incoming = [Posting(IN_TRANSIT, -money)]
    if rate is None:
        incoming.append(Posting(target, money))
    else:
        currency = journal.chart[target].currency
        if currency is None:
            raise LedgerError(f"{target} holds any currency; a rate needs one that holds one")
        bought = money.convert(rate, currency)
        journal.chart.ensure(EXCHANGE)
        incoming += [Posting(EXCHANGE, money), Posting(EXCHANGE, -bought), Posting(target, bought)]

    text = description or f"Transfer from {source} to {target}"
    group = f"transfer-{journal.next_number}"
    departure, arrival = journal.post_all(
        [
            Entry(on, text, tuple(outgoing), group=group),
            Entry(arrives, text, tuple(incoming), group=group),
        ]
    )
    return departure, arrival


def in_transit(journal: Journal, on: date) -> list[Transit]:
    """What is under way at the end of a day, one line per transfer, the oldest first."""
    lines: dict[str, Transit] = {}
    for entry in journal:
        if entry.date > on or not entry.group:
            continue
        for posting in entry.postings:
            if posting.account == IN_TRANSIT:
                line = lines.get(entry.group)
                if line is None:
                    line = Transit(entry.number, entry.date, posting.money)
                else:
                    line = replace(line, money=line.money + posting.money)
                lines[entry.group] = line
    return [line for line in lines.values() if line.money]
