"""The chart knows its accounts and refuses names that make no sense."""

from datetime import date

import pytest

from ledger import Chart, LedgerError


def test_the_first_word_is_the_kind():
    chart = Chart()
    assert chart.open("Assets:Bank").sign == 1
    assert chart.open("Income:Dues").sign == -1
    assert chart["Income:Dues"].kind == "Income"


@pytest.mark.parametrize(
    "name",
    ["Assets", "Assets:", "Assets::Bank", "Assets: Bank", "Bank", "assets:Bank", ""],
    ids=["kind-only", "no-name", "gap", "space", "no-kind", "lower-case", "empty"],
)
def test_names_that_are_refused(name):
    with pytest.raises(LedgerError):
        Chart().open(name)


def test_an_account_is_opened_once():
    chart = Chart()
    chart.open("Assets:Bank")
    with pytest.raises(LedgerError, match="open already"):
        chart.open("Assets:Bank")
    assert chart.ensure("Assets:Bank") is chart["Assets:Bank"]


def test_an_unknown_currency_is_noticed_early():
    with pytest.raises(LedgerError, match="unknown currency"):
        Chart().open("Assets:Bank", currency="EURO")


def test_the_chart_is_in_the_order_of_a_balance_sheet():
    chart = Chart()
    for name in ["Expenses:Rent", "Assets:Cash", "Income:Dues", "Assets:Bank", "Equity:Opening"]:
        chart.open(name)
    assert [account.name for account in chart] == [
        "Assets:Bank",
        "Assets:Cash",
        "Equity:Opening",
        "Income:Dues",
        "Expenses:Rent",
    ]
    assert len(chart) == 5


def test_under_goes_by_whole_words():
    chart = Chart()
    for name in ["Assets:Bank", "Assets:Bank:Savings", "Assets:Bankers"]:
        chart.open(name)
    found = [one.name for one in chart.under("Assets:Bank")]
    assert found == ["Assets:Bank", "Assets:Bank:Savings"]


def test_closing_keeps_the_rest():
    chart = Chart()
    chart.open("Assets:Bank", currency="EUR")
    chart.close("Assets:Bank", on=date(2024, 7, 1))
    assert chart["Assets:Bank"].currency == "EUR"
    assert chart["Assets:Bank"].closed_on == date(2024, 7, 1)
