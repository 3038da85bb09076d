"""A row without a date belongs to the day that was printed last above it."""

from ledger import Chart, Journal, Money, Profile, Rule, balance, import_statement, read_statement

CARD = Profile(currency="EUR", status="Status")


def make_journal():
    chart = Chart()
    chart.open("Assets:Bank", currency="EUR")
    return Journal(chart)


def plain(text, profile=CARD):
    return [
        (line.date.isoformat(), line.payee, str(line.money.amount))
        for line in read_statement(text, profile)
    ]


def imported(journal, text, profile=CARD):
    result = import_statement(journal, text, profile, account="Assets:Bank")
    return [entry.description for entry in result.posted]


def test_a_pending_row_prints_the_day_of_those_below():
    text = (
        "Date,Payee,Amount,Status\n"
        "2024-05-02,Lu,5.00,booked\n"
        "2024-05-03,Shop,-80.00,RESERVED\n"
        ",Station,-30.00,Pending\n"
        ',"Kiosk, main ""hall""",-7.40,booked\n'
        ",Bo,6.00,booked\n"
        "2024-05-06,Al,1.00,booked\n"
    )
    assert plain(text) == [
        ("2024-05-02", "Lu", "5.00"),
        ("2024-05-03", 'Kiosk, main "hall"', "-7.40"),
        ("2024-05-03", "Bo", "6.00"),
        ("2024-05-06", "Al", "1.00"),
    ]


def test_a_statement_may_begin_with_a_pending_row():
    text = "Date,Payee,Amount,Status\n2024-05-03,Shop,-80.00,pending\n,Kiosk,-7.40,booked\n"
    assert plain(text) == [("2024-05-03", "Kiosk", "-7.40")]


def test_a_notice_prints_the_day_of_those_below():
    profile = Profile(
        currency="EUR", delimiter=";", decimal=",", date_format="%d.%m.%Y", amount=None
    )
    text = (
        "Date;Payee;Debit;Credit\n"
        "30.04.2024;Hall;1.200,00;\n"
        "02.05.2024;New terms from June;;\n"
        "Date;Payee;Debit;Credit\n"
        ";Lu;;60,00\n"
    )
    assert plain(text, profile) == [
        ("2024-04-30", "Hall", "-1200.00"),
        ("2024-05-02", "Lu", "60.00"),
    ]


def test_what_is_settled_later_is_the_only_news():
    first = (
        "Date,Payee,Amount,Status\n"
        "2024-05-02,Lu,5.00,booked\n"
        "2024-05-03,Shop 24,-80.00,pending\n"
        ",Kiosk,-7.40,booked\n"
        ",Kiosk,-7.40,booked\n"
        "2024-05-04,Track 17,-30.00,pending\n"
        ",Bo,6.00,booked\n"
    )
    journal = make_journal()
    assert imported(journal, first) == ["Lu", "Kiosk", "Kiosk", "Bo"]
    assert imported(journal, first) == []
    assert imported(journal, first.replace("-80.00,pending", "-80.00,booked")) == ["Shop 24"]
    assert imported(journal, first.replace("pending", "booked")) == ["Track 17"]
    assert balance(journal, "Assets:Bank") == {"EUR": Money.of("-113.80", "EUR")}


def test_month_end_has_only_its_own_payments():
    text = (
        "Date,Payee,Amount,Status\n"
        "2024-04-30,Lu,5.00,booked\n"
        "2024-05-02,Shop,-80.00,pending\n"
        ",Kiosk,-7.40,booked\n"
    )
    journal = make_journal()
    rules = [Rule("kiosk", "Expenses:Unsorted")]
    import_statement(journal, text, CARD, account="Assets:Bank", rules=rules)
    by_day = [(entry.date.isoformat(), str(entry.postings[0].money)) for entry in journal]
    assert by_day == [("2024-04-30", "5.00 EUR"), ("2024-05-02", "-7.40 EUR")]


def test_equal_payments_of_two_days_are_two():
    day = "Date,Payee,Amount,Status\n2024-05-0{},Kiosk,-7.40,booked\n"
    journal = make_journal()
    assert imported(journal, day.format(2)) == ["Kiosk"]
    assert imported(journal, day.format(3)) == ["Kiosk"]
    assert imported(journal, day.format(2)) == []


def test_pending_rows_and_notices_are_still_left_out():
    text = (
        "Date,Payee,Amount,Status\n"
        "2024-05-02,Lu,5.00,booked\n"
        ",Shop,-80.00,pending\n"
        ",New terms,,booked\n"
        "Date,Payee,Amount,Status\n"
        ",Bo,6.00,booked\n"
    )
    assert plain(text) == [("2024-05-02", "Lu", "5.00"), ("2024-05-02", "Bo", "6.00")]
