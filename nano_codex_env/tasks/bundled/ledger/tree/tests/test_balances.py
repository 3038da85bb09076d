"""Balances add up what is below an account, and the two sides agree."""

from datetime import date
from decimal import Decimal

import pytest

from ledger import Chart, Entry, Journal, LedgerError, Money, Posting, balance, balances
from ledger import trial_balance


def make_journal():
    chart = Chart()
    for name in ["Bank", "Bank:Savings", "Cash"]:
        chart.open(f"Assets:{name}")
    chart.open("Income:Dues")
    chart.open("Expenses:Tea")
    journal = Journal(chart)
    post(journal, 5, "Assets:Bank", "Income:Dues", "100.00")
    post(journal, 10, "Assets:Bank:Savings", "Assets:Bank", "40.00")
    post(journal, 12, "Expenses:Tea", "Assets:Bank", "3.20")
    post(journal, 14, "Assets:Cash", "Income:Dues", "25.00", "USD")
    return journal


def post(journal, day, debit, credit, amount, currency="EUR"):
    money = Money.of(amount, currency)
    postings = (Posting(debit, money), Posting(credit, -money))
    journal.post(Entry(date(2024, 1, day), f"{debit} {amount}", postings))


def plain(amounts):
    return {currency: str(money.amount) for currency, money in amounts.items()}


def test_a_balance_has_everything_below_the_account():
    journal = make_journal()
    assert plain(balance(journal, "Assets:Bank")) == {"EUR": "96.80"}
    assert plain(balance(journal, "Assets:Bank:Savings")) == {"EUR": "40.00"}
    assert plain(balance(journal, "Assets")) == {"EUR": "96.80", "USD": "25.00"}


@pytest.mark.parametrize(
    ("day", "expected"),
    [(5, "100.00"), (11, "100.00"), (12, "96.80"), (31, "96.80")],
)
def test_a_balance_is_of_the_end_of_a_day(day, expected):
    journal = make_journal()
    assert plain(balance(journal, "Assets:Bank", on=date(2024, 1, day))) == {"EUR": expected}
    assert balance(journal, "Assets:Bank", on=date(2024, 1, 4)) == {}


def test_a_balance_since_a_day_has_that_day():
    journal = make_journal()
    assert plain(balance(journal, "Assets:Bank", since=date(2024, 1, 12))) == {"EUR": "-3.20"}


def test_balances_are_of_each_account_alone():
    assert {name: plain(amounts) for name, amounts in balances(make_journal()).items()} == {
        "Assets:Bank": {"EUR": "56.80"},
        "Assets:Bank:Savings": {"EUR": "40.00"},
        "Assets:Cash": {"USD": "25.00"},
        "Expenses:Tea": {"EUR": "3.20"},
        "Income:Dues": {"EUR": "-100.00", "USD": "-25.00"},
    }


def test_an_account_that_does_not_exist_has_no_balance():
    with pytest.raises(LedgerError, match="no account"):
        balance(make_journal(), "Assets:Safe")
    assert balance(make_journal(), "Liabilities") == {}


def test_the_trial_balance_agrees():
    rows = trial_balance(make_journal())
    assert rows[0] == ("Assets:Bank", Money.of("56.80", "EUR"), Money.zero("EUR"))
    for currency in ("EUR", "USD"):
        debits = sum((row[1].amount for row in rows if row[1].currency == currency), Decimal(0))
        credits = sum((row[2].amount for row in rows if row[2].currency == currency), Decimal(0))
        assert debits == credits > 0
