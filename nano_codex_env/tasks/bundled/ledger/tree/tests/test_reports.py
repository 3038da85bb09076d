"""Reports show what a treasurer would expect, and as plain text."""

from datetime import date

from ledger import Chart, Entry, Journal, Money, Month, Posting, account_statement, balance_sheet
from ledger import income_statement, render


def eur(text):
    return Money.of(text, "EUR")


def make_journal():
    chart = Chart()
    for name in ["Assets:Bank", "Liabilities:Loan", "Income:Dues", "Expenses:Rent", "Expenses:Tea"]:
        chart.open(name)
    journal = Journal(chart)
    for month, day, debit, credit, amount in [
        (1, 5, "Assets:Bank", "Income:Dues", "300.00"),
        (1, 31, "Expenses:Rent", "Assets:Bank", "200.00"),
        (2, 3, "Assets:Bank", "Liabilities:Loan", "1000.00"),
        (2, 29, "Expenses:Rent", "Assets:Bank", "200.00"),
    ]:
        postings = (Posting(debit, eur(amount)), Posting(credit, -eur(amount)))
        journal.post(Entry(date(2024, month, day), f"{debit} {amount}", postings))
    return journal


def plain(rows):
    return [(row[0], *(str(money.amount) for money in row[1:])) for row in rows]


def test_the_income_statement_of_one_month():
    assert plain(income_statement(make_journal(), Month(2024, 1), currency="EUR")) == [
        ("Income:Dues", "300.00", "300.00"),
        ("Expenses:Rent", "200.00", "200.00"),
        ("Result", "100.00", "100.00"),
    ]


def test_the_income_statement_of_several_months():
    rows = income_statement(make_journal(), Month(2024, 1), Month(2024, 3), currency="EUR")
    assert plain(rows) == [
        ("Income:Dues", "300.00", "0.00", "0.00", "300.00"),
        ("Expenses:Rent", "200.00", "200.00", "0.00", "400.00"),
        ("Result", "100.00", "-200.00", "0.00", "-100.00"),
    ]


def test_a_month_without_entries():
    assert plain(income_statement(make_journal(), Month(2025, 1), currency="EUR")) == [
        ("Result", "0.00", "0.00")
    ]


def test_the_balance_sheet():
    assert plain(balance_sheet(make_journal(), date(2024, 2, 28), currency="EUR")) == [
        ("Assets:Bank", "1100.00"),
        ("Liabilities:Loan", "1000.00"),
        ("Equity", "100.00"),
        ("Check", "0.00"),
    ]


def test_the_statement_of_an_account():
    opening, lines, closing = account_statement(
        make_journal(), "Assets:Bank", Month(2024, 2), currency="EUR"
    )
    assert (opening, closing) == (eur("100.00"), eur("900.00"))
    assert [(line.date.day, line.number, str(line.running)) for line in lines] == [
        (3, 3, "1,100.00 EUR"),
        (29, 4, "900.00 EUR"),
    ]


def test_a_table_of_text():
    rows = balance_sheet(make_journal(), date(2024, 2, 28), currency="EUR")
    assert render(rows, header=("Account", "EUR")) == (
        "Account                EUR\n"
        "----------------  --------\n"
        "Assets:Bank       1,100.00\n"
        "Liabilities:Loan  1,000.00\n"
        "Equity              100.00\n"
        "Check                 0.00\n"
    )
    assert render([]) == ""
