"""A journal and its chart as JSON lines, one account or entry a line."""

import json
from datetime import date

from ledger.accounts import Account, Chart
from ledger.errors import LedgerError
from ledger.journal import Entry, Journal, Posting
from ledger.money import Money

VERSION = 1


def dump(journal: Journal) -> str:
    """The whole journal as text, the same text for the same journal."""
    lines = [{"ledger": VERSION}]
    lines += [_account_out(account) for account in journal.chart]
    lines += [_entry_out(journal.entry(number)) for number in range(1, len(journal) + 1)]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def load(text: str) -> Journal:
    """The journal that was dumped; every entry is checked again."""
    head, *lines = [json.loads(line) for line in text.split("\n") if line]
    if head.get("ledger") != VERSION:
        raise LedgerError(f"not a ledger of version {VERSION}: {head}")
    chart = Chart()
    closed: dict[str, date] = {}
    entries = []
    for line in lines:
        if "account" in line:
            chart.open(line["account"], currency=line.get("currency"))
            if "closed_on" in line:
                closed[line["account"]] = date.fromisoformat(line["closed_on"])
        else:
            entries.append(_entry_in(line))
    for name, on in closed.items():
        chart.close(name, on=on)
    journal = Journal(chart)
    journal.post_all(entries)
    return journal


def _account_out(account: Account) -> dict:
    line = {"account": account.name}
    if account.currency is not None:
        line["currency"] = account.currency
    if account.closed_on is not None:
        line["closed_on"] = account.closed_on.isoformat()
    return line


def _entry_out(entry: Entry) -> dict:
    line = {
        "date": entry.date.isoformat(),
        "description": entry.description,
        "postings": [
            [one.account, str(one.money.amount), one.money.currency] for one in entry.postings
        ],
    }
    for key in ("reference", "group", "reverses"):
        if getattr(entry, key):
            line[key] = getattr(entry, key)
    return line


def _entry_in(line: dict) -> Entry:
    return Entry(
        date=date.fromisoformat(line["date"]),
        description=line["description"],
        postings=tuple(
            Posting(account, Money.of(amount, currency))
            for account, amount, currency in line["postings"]
        ),
        reference=line.get("reference", ""),
        group=line.get("group", ""),
        reverses=line.get("reverses"),
    )
