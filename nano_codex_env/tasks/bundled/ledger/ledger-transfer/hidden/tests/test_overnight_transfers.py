"""A transfer is one event, however many days it takes and however often it is made."""

from datetime import date

import pytest

from ledger import IN_TRANSIT, Chart, Journal, Money, balance, dump, in_transit, load, transfer

ACCOUNTS = ["Assets:Bank", "Assets:Savings", "Assets:Dollars", IN_TRANSIT]


def make_journal():
    chart = Chart()
    chart.open("Assets:Bank", currency="EUR")
    chart.open("Assets:Savings", currency="EUR")
    chart.open("Assets:Dollars", currency="USD")
    return Journal(chart)


def save(journal, amount, on, arrives=None):
    """Put money on the savings account; the numbers of the two entries."""
    both = transfer(
        journal, "Assets:Bank", "Assets:Savings", Money.of(amount, "EUR"), on=on, arrives=arrives
    )
    return [entry.number for entry in both]


def held(journal, on=None):
    """What is not zero, by the last word of the account."""
    result = {}
    for account in ACCOUNTS:
        for currency, money in balance(journal, account, on=on).items():
            result[f"{account.split(':')[1]} {currency}"] = str(money.amount)
    return result


def lines(journal, on):
    return [
        (line.number, line.since.isoformat(), str(line.money)) for line in in_transit(journal, on)
    ]


@pytest.mark.parametrize("which", [0, 1], ids=["departure", "arrival"])
def test_voiding_either_entry_after_the_arrival(which):
    journal = make_journal()
    numbers = save(journal, "75.25", date(2024, 12, 31), date(2025, 1, 2))
    reversals = journal.void(numbers[which], on=date(2025, 1, 7))
    assert sorted(entry.reverses for entry in reversals) == [1, 2]
    assert {entry.date for entry in reversals} == {date(2025, 1, 7)}
    assert journal.is_voided(1) and journal.is_voided(2)
    assert held(journal, date(2025, 1, 6)) == {"Bank EUR": "-75.25", "Savings EUR": "75.25"}
    assert held(journal) == {}


@pytest.mark.parametrize("which", [0, 1], ids=["departure", "arrival"])
def test_voiding_on_the_way(which):
    journal = make_journal()
    numbers = save(journal, "500.00", date(2024, 6, 28), date(2024, 7, 1))
    reversals = journal.void(numbers[which], on=date(2024, 6, 29))
    assert sorted((entry.reverses, entry.date.isoformat()) for entry in reversals) == [
        (1, "2024-06-29"),
        (2, "2024-07-01"),
    ]
    assert held(journal, date(2024, 6, 28)) == {"Bank EUR": "-500.00", "In transit EUR": "500.00"}
    for day in (date(2024, 6, 29), date(2024, 6, 30), date(2024, 7, 1), date(2024, 7, 2)):
        assert held(journal, day) == {}
        assert lines(journal, day) == []


def test_the_transfers_of_other_months_stay():
    journal = make_journal()
    for month in (1, 2, 3, 4):
        save(journal, "100.00", date(2024, month, 28), date(2024, month + 1, 2))
    journal.void(5, on=date(2024, 5, 10))
    assert [number for number in range(1, 9) if journal.is_voided(number)] == [5, 6]
    assert held(journal) == {"Bank EUR": "-300.00", "Savings EUR": "300.00"}


def test_two_equal_transfers_of_one_day_are_two():
    journal = make_journal()
    first = save(journal, "40.00", date(2024, 3, 1))
    second = save(journal, "40.00", date(2024, 3, 1))
    assert [entry.number for entry in journal.event(first[1])] == first
    assert [entry.number for entry in journal.event(second[0])] == second
    assert len(journal.void(second[1], on=date(2024, 3, 1))) == 2
    assert held(journal) == {"Bank EUR": "-40.00", "Savings EUR": "40.00"}
    assert len(journal.void(first[0], on=date(2024, 3, 1))) == 2
    assert held(journal) == {}


def test_one_line_per_transfer_under_way():
    journal = make_journal()
    save(journal, "10.00", date(2024, 1, 30), date(2024, 2, 1))
    save(journal, "20.00", date(2024, 5, 3), date(2024, 5, 7))
    save(journal, "30.00", date(2024, 5, 6), date(2024, 5, 8))
    save(journal, "30.00", date(2024, 5, 6), date(2024, 5, 7))
    assert lines(journal, date(2024, 5, 3)) == [(3, "2024-05-03", "20.00 EUR")]
    assert lines(journal, date(2024, 5, 6)) == [
        (3, "2024-05-03", "20.00 EUR"),
        (5, "2024-05-06", "30.00 EUR"),
        (7, "2024-05-06", "30.00 EUR"),
    ]
    assert lines(journal, date(2024, 5, 7)) == [(5, "2024-05-06", "30.00 EUR")]
    assert lines(journal, date(2024, 5, 8)) == []


def test_fee_and_exchange_are_taken_back_with_it():
    journal = make_journal()
    _, arrival = transfer(
        journal,
        "Assets:Bank",
        "Assets:Dollars",
        Money.of("200.00", "EUR"),
        on=date(2024, 8, 30),
        arrives=date(2024, 9, 3),
        fee=Money.of("4.90", "EUR"),
        rate="1.1083",
    )
    assert held(journal) == {"Bank EUR": "-204.90", "Dollars USD": "221.66"}
    journal.void(arrival.number, on=date(2024, 9, 4))
    assert held(journal) == {}
    assert balance(journal, "Expenses:Bank fees") == balance(journal, "Equity:Exchange") == {}


def test_a_journal_from_a_file_knows_its_transfers():
    journal = make_journal()
    save(journal, "15.00", date(2024, 2, 2), date(2024, 2, 5))
    journal = load(dump(journal))
    save(journal, "25.00", date(2024, 2, 2), date(2024, 2, 6))
    journal = load(dump(journal))
    assert lines(journal, date(2024, 2, 3)) == [
        (1, "2024-02-02", "15.00 EUR"),
        (3, "2024-02-02", "25.00 EUR"),
    ]
    journal.void(4, on=date(2024, 2, 9))
    assert held(journal) == {"Bank EUR": "-15.00", "Savings EUR": "15.00"}


def test_a_transfer_that_was_not_voided():
    journal = make_journal()
    save(journal, "15.00", date(2024, 2, 2), date(2024, 2, 5))
    assert held(journal, date(2024, 2, 4)) == {"Bank EUR": "-15.00", "In transit EUR": "15.00"}
    assert held(journal) == {"Bank EUR": "-15.00", "Savings EUR": "15.00"}
    assert lines(journal, date(2024, 2, 4)) == [(1, "2024-02-02", "15.00 EUR")]
