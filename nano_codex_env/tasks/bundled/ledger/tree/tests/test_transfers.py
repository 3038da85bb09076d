"""Transfers leave one account, are on the way, and reach the other."""

from datetime import date

import pytest

from ledger import IN_TRANSIT, Chart, Journal, LedgerError, Money, balance, in_transit, transfer


def eur(text):
    return Money.of(text, "EUR")


def make_journal():
    chart = Chart()
    chart.open("Assets:Bank", currency="EUR")
    chart.open("Assets:Savings", currency="EUR")
    chart.open("Assets:Dollars", currency="USD")
    chart.open("Assets:Cash")
    return Journal(chart)


def held(journal, account, **when):
    amounts = balance(journal, account, **when)
    return {currency: str(money.amount) for currency, money in amounts.items()}


def test_a_transfer_within_a_day():
    journal = make_journal()
    departure, arrival = transfer(
        journal, "Assets:Bank", "Assets:Savings", eur("50.00"), on=date(2024, 3, 1)
    )
    assert (departure.number, arrival.number) == (1, 2)
    assert held(journal, "Assets:Bank") == {"EUR": "-50.00"}
    assert held(journal, "Assets:Savings") == {"EUR": "50.00"}
    assert held(journal, IN_TRANSIT) == {}


def test_money_is_under_way_until_it_arrives():
    journal = make_journal()
    transfer(
        journal,
        "Assets:Bank",
        "Assets:Savings",
        eur("50.00"),
        on=date(2024, 3, 29),
        arrives=date(2024, 4, 2),
    )
    assert held(journal, IN_TRANSIT, on=date(2024, 4, 1)) == {"EUR": "50.00"}
    assert held(journal, "Assets:Savings", on=date(2024, 4, 1)) == {}
    assert held(journal, "Assets", on=date(2024, 4, 1)) == {}
    (line,) = in_transit(journal, date(2024, 4, 1))
    assert (line.number, line.since, line.money) == (1, date(2024, 3, 29), eur("50.00"))
    assert in_transit(journal, date(2024, 3, 28)) == []
    assert in_transit(journal, date(2024, 4, 2)) == []


def test_several_transfers_are_under_way():
    journal = make_journal()
    days = {"on": date(2024, 3, 29), "arrives": date(2024, 4, 2)}
    transfer(journal, "Assets:Bank", "Assets:Savings", eur("50.00"), **days)
    transfer(journal, "Assets:Savings", "Assets:Cash", eur("20.00"), **days)
    first, second = in_transit(journal, date(2024, 4, 1))
    assert (first.number, first.money) == (1, eur("50.00"))
    assert (second.number, second.money) == (3, eur("20.00"))


def test_the_fee_is_taken_on_top():
    journal = make_journal()
    transfer(
        journal,
        "Assets:Bank",
        "Assets:Savings",
        eur("50.00"),
        on=date(2024, 3, 1),
        fee=eur("1.50"),
    )
    assert held(journal, "Assets:Bank") == {"EUR": "-51.50"}
    assert held(journal, "Expenses:Bank fees") == {"EUR": "1.50"}


def test_money_arrives_in_the_currency_of_the_target():
    journal = make_journal()
    transfer(
        journal,
        "Assets:Bank",
        "Assets:Dollars",
        eur("100.00"),
        on=date(2024, 3, 1),
        rate="1.0855",
    )
    assert held(journal, "Assets:Dollars") == {"USD": "108.55"}
    assert held(journal, "Equity:Exchange") == {"EUR": "100.00", "USD": "-108.55"}


def test_voiding_either_entry_takes_a_transfer_back():
    for number in (1, 2):
        journal = make_journal()
        transfer(journal, "Assets:Bank", "Assets:Savings", eur("50.00"), on=date(2024, 3, 1))
        assert len(journal.void(number, on=date(2024, 3, 5))) == 2
        assert held(journal, "Assets:Bank", on=date(2024, 3, 4)) == {"EUR": "-50.00"}
        assert held(journal, "Assets:Bank") == held(journal, "Assets:Savings") == {}
        with pytest.raises(LedgerError, match="voided already"):
            journal.void(3 - number, on=date(2024, 3, 6))


def test_voiding_leaves_the_transfers_of_other_days():
    journal = make_journal()
    for month in (1, 2, 3):
        transfer(journal, "Assets:Bank", "Assets:Savings", eur("50.00"), on=date(2024, month, 1))
    journal.void(3, on=date(2024, 3, 1))
    assert [journal.is_voided(number) for number in range(1, 7)] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert held(journal, "Assets:Savings") == {"EUR": "100.00"}


def test_transfers_that_are_refused():
    journal = make_journal()
    march = date(2024, 3, 1)
    with pytest.raises(LedgerError, match="to itself"):
        transfer(journal, "Assets:Bank", "Assets:Bank", eur("5.00"), on=march)
    with pytest.raises(LedgerError, match="cannot transfer -5.00 EUR"):
        transfer(journal, "Assets:Bank", "Assets:Cash", eur("-5.00"), on=march)
    with pytest.raises(LedgerError, match="cannot arrive"):
        transfer(
            journal, "Assets:Bank", "Assets:Cash", eur("5"), on=march, arrives=date(2024, 2, 29)
        )
    with pytest.raises(LedgerError, match="needs one that holds one"):
        transfer(journal, "Assets:Bank", "Assets:Cash", eur("5.00"), on=march, rate="1.1")
    with pytest.raises(LedgerError, match="holds USD"):
        transfer(journal, "Assets:Bank", "Assets:Dollars", eur("5.00"), on=march)
    assert len(journal) == 0
