"""Statements of several banks become entries, each of them once."""

from datetime import date

import pytest

from ledger import Chart, ImportFailed, Journal, Money, Profile, Rule, import_statement
from ledger import read_statement
from ledger.csvimport import parse_amount

PLAIN = Profile(currency="EUR")
GERMAN = Profile(
    currency="EUR",
    delimiter=";",
    decimal=",",
    date_format="%d.%m.%Y",
    date="Buchungstag",
    payee="Name",
    amount="Betrag",
    status="Status",
)


def make_journal():
    chart = Chart()
    chart.open("Assets:Bank", currency="EUR")
    chart.open("Expenses:Rent")
    return Journal(chart)


def plain(text, profile=PLAIN):
    return [
        (line.date.isoformat(), line.payee, str(line.money.amount))
        for line in read_statement(text, profile)
    ]


def test_a_plain_statement():
    text = "Date,Payee,Amount\n2024-01-05,A. Brandt,60.00\n2024-01-09,City Hall,-200.00\n"
    assert plain(text) == [
        ("2024-01-05", "A. Brandt", "60.00"),
        ("2024-01-09", "City Hall", "-200.00"),
    ]


def test_quoted_fields_keep_their_commas_and_lose_their_line_breaks():
    text = 'Date,Payee,Amount\r\n2024-01-05,"Brandt, A.\r\nand ""Lu""","1,060.00"\r\n'
    assert plain(text) == [("2024-01-05", 'Brandt, A. and "Lu"', "1060.00")]


def test_more_columns_in_any_order_and_a_byte_order_mark():
    text = "\ufeffAmount,Memo,Date,Payee\n5.00,x,2024-01-05,Lu\n"
    assert plain(text) == [("2024-01-05", "Lu", "5.00")]


@pytest.mark.parametrize(
    ("text", "decimal", "expected"),
    [
        ("1234.5", ".", "1234.50"),
        ("1,234.56", ".", "1234.56"),
        ("1.234,56", ",", "1234.56"),
        ("-1 234,56", ",", "-1234.56"),
        ("5.00-", ".", "-5.00"),
        ("(5.00)", ".", "-5.00"),
        ("1'000.00", ".", "1000.00"),
        ("+7", ".", "7.00"),
    ],
    ids=["plain", "comma", "german", "spaces", "behind", "brackets", "swiss", "plus"],
)
def test_amounts_as_banks_print_them(text, decimal, expected):
    assert parse_amount(text, "EUR", decimal=decimal) == Money.of(expected, "EUR")


def test_debit_and_credit_in_columns_of_their_own():
    profile = Profile(currency="EUR", amount=None)
    text = "Date,Payee,Debit,Credit\n2024-01-05,Hall,200.00,\n2024-01-06,Lu,,15.00\n"
    assert plain(text, profile) == [
        ("2024-01-05", "Hall", "-200.00"),
        ("2024-01-06", "Lu", "15.00"),
    ]


def test_a_card_that_prints_purchases_as_positive():
    profile = Profile(currency="EUR", inverted=True)
    text = "Date,Payee,Amount\n2024-01-05,Printer,49.90\n2024-01-06,Refund,-9.90\n"
    assert [row[2] for row in plain(text, profile)] == ["-49.90", "9.90"]


def test_a_row_without_a_date_belongs_to_the_day_above():
    text = "Date,Payee,Amount\n2024-01-05,Lu,5.00\n,Bo,6.00\n2024-01-07,Al,7.00\n,Cy,8.00\n"
    assert [row[0][-2:] for row in plain(text)] == ["05", "05", "07", "07"]


def test_pending_rows_are_not_money_yet():
    text = (
        "Buchungstag;Name;Betrag;Status\n"
        "05.01.2024;Lu;5,00;gebucht\n"
        "06.01.2024;Bo;-6,00;Pending\n"
        "07.01.2024;Al;7,00;gebucht\n"
    )
    assert plain(text, GERMAN) == [("2024-01-05", "Lu", "5.00"), ("2024-01-07", "Al", "7.00")]


def test_notices_and_further_pages_are_passed_over():
    text = (
        "Date,Payee,Amount\n"
        "2024-01-05,Lu,5.00\n"
        ",New terms from May,\n"
        "Date,Payee,Amount\n"
        ",Bo,6.00\n"
    )
    assert plain(text) == [("2024-01-05", "Lu", "5.00"), ("2024-01-05", "Bo", "6.00")]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("2024-13-01,Lu,5.00", "line 3: .*2024-13-01"),
        ("2024-01-06,Lu,five", "line 3: not an amount"),
        ("2024-01-06,Lu,5.001", "line 3: .*too fine"),
    ],
    ids=["date", "word", "fine"],
)
def test_a_row_that_cannot_be_read_is_named(row, words):
    with pytest.raises(ImportFailed, match=words):
        plain(f"Date,Payee,Amount\n2024-01-05,Bo,1.00\n{row}\n")


def test_the_first_row_needs_a_date():
    with pytest.raises(ImportFailed, match="line 2: no date"):
        plain("Date,Payee,Amount\n,Lu,5.00\n")


def test_columns_that_are_missing_are_named():
    with pytest.raises(ImportFailed, match="'Payee', 'Amount'"):
        plain("Date,Name,Sum\n2024-01-05,Lu,5.00\n")
    with pytest.raises(ImportFailed, match="'Date'"):
        plain("")


def test_rules_choose_the_other_account():
    journal = make_journal()
    text = (
        "Date,Payee,Amount\n2024-01-05,CITY HALL 7,-200.00\n"
        "2024-01-06,Kiosk,-3.00\n2024-01-06,Lu,60.00\n"
    )
    rules = [Rule("city hall", "Expenses:Rent"), Rule("hall", "Expenses:Other")]
    result = import_statement(journal, text, PLAIN, account="Assets:Bank", rules=rules)
    assert [entry.postings[1].account for entry in result.posted] == [
        "Expenses:Rent",
        "Expenses:Unsorted",
        "Income:Unsorted",
    ]
    assert result.posted[0].postings[1].money == Money.of("200.00", "EUR")


def test_statements_may_overlap():
    journal = make_journal()
    january = "Date,Payee,Amount\n2024-01-30,Lu,5.00\n2024-01-31,Bo,6.00\n"
    february = "Date,Payee,Amount\n2024-01-31,Bo,6.00\n2024-02-01,Al,7.00\n"
    import_statement(journal, january, PLAIN, account="Assets:Bank")
    result = import_statement(journal, february, PLAIN, account="Assets:Bank")
    assert [entry.description for entry in result.posted] == ["Al"]
    assert [line.payee for line in result.skipped] == ["Bo"]
    assert len(journal) == 3


def test_two_equal_payments_on_one_day_are_two():
    journal = make_journal()
    text = "Date,Payee,Amount\n2024-01-30,Kiosk,-3.50\n2024-01-30,Kiosk,-3.50\n"
    assert len(import_statement(journal, text, PLAIN, account="Assets:Bank").posted) == 2
    again = import_statement(journal, text, PLAIN, account="Assets:Bank")
    assert (len(again.posted), len(again.skipped)) == (0, 2)


def test_nothing_is_posted_from_a_statement_with_a_mistake():
    journal = make_journal()
    with pytest.raises(ImportFailed):
        import_statement(
            journal,
            "Date,Payee,Amount\n2024-01-30,Lu,5.00\n2024-01-31,Bo,six\n",
            PLAIN,
            account="Assets:Bank",
        )
    assert len(journal) == 0


def test_an_entry_has_the_date_of_its_line():
    journal = make_journal()
    text = "Date,Payee,Amount\n2024-01-30,Lu,5.00\n"
    (entry,) = import_statement(journal, text, PLAIN, account="Assets:Bank").posted
    assert entry.date == date(2024, 1, 30)
