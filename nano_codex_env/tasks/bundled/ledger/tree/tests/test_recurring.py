"""Recurring entries fall due on the right days and are posted once."""

from datetime import date

import pytest

from ledger import Chart, Journal, LedgerError, Money, Month, Posting, Recurring, add_months
from ledger import post_due

RENT = Money.of("200.00", "EUR")


def make_rule(start=date(2024, 1, 31), every="monthly", **more):
    postings = (Posting("Expenses:Rent", RENT), Posting("Assets:Bank", -RENT))
    name = more.pop("name", "rent")
    return Recurring(name, postings, start, every, **more)


def make_journal():
    chart = Chart()
    chart.open("Assets:Bank")
    chart.open("Expenses:Rent")
    return Journal(chart)


def days(rule, until):
    return [day.isoformat()[2:] for day in rule.due(until)]


def test_the_31st_is_the_last_day_of_shorter_months():
    assert days(make_rule(), date(2024, 5, 1)) == ["24-01-31", "24-02-29", "24-03-31", "24-04-30"]


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ("weekly", ["24-12-18", "24-12-25", "25-01-01"]),
        ("monthly", ["24-12-18"]),
        ("quarterly", ["24-12-18"]),
    ],
)
def test_how_often(every, expected):
    assert days(make_rule(date(2024, 12, 18), every), date(2025, 1, 7)) == expected


def test_quarters_and_years():
    assert days(make_rule(date(2023, 11, 30), "quarterly"), date(2024, 5, 30)) == [
        "23-11-30",
        "24-02-29",
        "24-05-30",
    ]
    assert days(make_rule(date(2024, 2, 29), "yearly"), date(2025, 12, 31)) == [
        "24-02-29",
        "25-02-28",
    ]


def test_a_rule_ends():
    rule = make_rule(date(2024, 1, 1), end=date(2024, 3, 1))
    assert len(days(rule, date(2025, 1, 1))) == 3
    assert days(rule, date(2023, 12, 31)) == []


def test_what_is_due_is_posted_once():
    journal = make_journal()
    rule = make_rule(description="Rent of the hall")
    assert len(post_due(journal, [rule], until=date(2024, 2, 28))) == 1
    assert len(post_due(journal, [rule], until=date(2024, 3, 31))) == 2
    assert post_due(journal, [rule], until=date(2024, 3, 31)) == []
    assert {entry.description for entry in journal} == {"Rent of the hall"}


def test_rules_are_posted_by_date():
    journal = make_journal()
    rules = [make_rule(), make_rule(date(2024, 1, 10), name="tea")]
    posted = post_due(journal, rules, until=date(2024, 2, 10))
    assert [entry.reference for entry in posted] == [
        "tea/2024-01-10",
        "rent/2024-01-31",
        "tea/2024-02-10",
    ]


def test_a_voided_month_does_not_come_back_and_leaves_the_others():
    journal = make_journal()
    post_due(journal, [make_rule()], until=date(2024, 2, 29))
    assert len(journal.void(1, on=date(2024, 2, 1))) == 1
    assert not journal.is_voided(2)
    assert post_due(journal, [make_rule()], until=date(2024, 2, 29)) == []


@pytest.mark.parametrize("wrong", [{"every": "daily"}, {"name": ""}, {"name": "a/b"}])
def test_rules_that_are_refused(wrong):
    with pytest.raises(LedgerError):
        make_rule(**wrong)


def test_months():
    assert Month.parse("2024-02").last == date(2024, 2, 29)
    assert str(Month(2024, 11).plus(3)) == "2025-02"
    assert str(Month(2024, 1).plus(-1)) == "2023-12"
    assert [str(month) for month in Month(2023, 12).until(Month(2024, 1))] == ["2023-12", "2024-01"]
    assert add_months(date(2024, 3, 31), -1) == date(2024, 2, 29)


@pytest.mark.parametrize("text", ["2024", "2024-13", "24-01", "2024-1", "2024-00"])
def test_what_is_not_a_month(text):
    with pytest.raises(LedgerError, match="not a month"):
        Month.parse(text)
