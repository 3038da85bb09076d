"""Costs are charged on to members by weight, and given back the same way."""

from datetime import date

import pytest

from ledger import Chart, Journal, LedgerError, Money, balance, share_cost
from ledger.sharing import owed


def eur(text):
    return Money.of(text, "EUR")


def make_journal():
    chart = Chart()
    chart.open("Assets:Bank")
    return Journal(chart)


def share(journal, amount, weights, **more):
    options = {"on": date(2024, 3, 2), "paid_from": "Assets:Bank", "description": "Coach", **more}
    return share_cost(journal, eur(amount), weights, **options)


def test_a_cost_is_shared_to_the_last_cent():
    journal = make_journal()
    share(journal, "100.00", {"Ada": 1, "Bo": 1, "Cy": 1})
    assert [owed(journal, name, "EUR") for name in ("Ada", "Bo", "Cy")] == [
        eur("33.34"),
        eur("33.33"),
        eur("33.33"),
    ]
    assert balance(journal, "Assets:Bank") == {"EUR": eur("-100.00")}


def test_weights_and_members_without_one():
    journal = make_journal()
    entry = share(journal, "90.00", {"Ada": 2, "Bo": 1, "Cy": 0})
    assert owed(journal, "Ada", "EUR") == eur("60.00")
    assert owed(journal, "Cy", "EUR") == eur("0")
    assert len(entry.postings) == 3


def test_a_levy_is_shared_too():
    journal = make_journal()
    share(journal, "100.00", {"Ada": 1, "Bo": 1}, levy="2.5")
    assert owed(journal, "Ada", "EUR") == eur("51.25")
    assert balance(journal, "Income:Levies") == {"EUR": eur("-2.50")}


def test_a_refund_goes_back_to_the_members():
    journal = make_journal()
    share(journal, "40.00", {"Ada": 1, "Bo": 1})
    share(journal, "-30.00", {"Ada": 1, "Bo": 1}, on=date(2024, 3, 9))
    assert owed(journal, "Ada", "EUR") == eur("5.00")
    assert balance(journal, "Assets:Bank") == {"EUR": eur("-10.00")}


def test_somebody_must_pay():
    with pytest.raises(LedgerError, match="nobody"):
        share(make_journal(), "10.00", {})
    with pytest.raises(LedgerError, match="cannot split"):
        share(make_journal(), "10.00", {"Ada": 0})
    with pytest.raises(LedgerError, match="not a member"):
        share(make_journal(), "10.00", {"Ada:B": 1})
