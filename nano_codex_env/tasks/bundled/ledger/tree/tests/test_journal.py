"""Entries balance, stay as they are, and are taken back by a reversal."""

from datetime import date

import pytest

from ledger import Chart, Entry, Journal, LedgerError, Money, Posting, UnbalancedEntry, balance


def eur(text):
    return Money.of(text, "EUR")


def make_journal():
    chart = Chart()
    chart.open("Assets:Bank", currency="EUR")
    chart.open("Assets:Cash")
    chart.open("Income:Dues")
    chart.open("Expenses:Rent")
    return Journal(chart)


def make_entry(day=15, amount="100.00", **more):
    postings = (Posting("Assets:Bank", eur(amount)), Posting("Income:Dues", -eur(amount)))
    return Entry(date(2024, 1, day), "Dues", postings, **more)


def test_entries_are_numbered_in_the_order_posted():
    journal = make_journal()
    late, early = journal.post(make_entry(20)), journal.post(make_entry(10))
    assert (late.number, early.number) == (1, 2)
    assert [entry.number for entry in journal] == [2, 1]
    assert journal.entry(1) == late
    assert journal.next_number == 3


def test_between_has_both_ends():
    journal = make_journal()
    for day in (9, 10, 15, 20, 21):
        journal.post(make_entry(day))
    found = journal.between(date(2024, 1, 10), date(2024, 1, 20))
    assert [entry.date.day for entry in found] == [10, 15, 20]


def test_an_entry_must_balance():
    journal = make_journal()
    postings = (Posting("Assets:Bank", eur("10")), Posting("Income:Dues", eur("-9.99")))
    with pytest.raises(UnbalancedEntry, match="off by 0.01 EUR"):
        journal.post(Entry(date(2024, 1, 1), "Dues", postings))


def test_an_entry_must_balance_in_each_currency():
    journal = make_journal()
    postings = (Posting("Assets:Cash", Money.of("10", "USD")), Posting("Income:Dues", eur("-10")))
    with pytest.raises(UnbalancedEntry):
        journal.post(Entry(date(2024, 1, 1), "Dues", postings))


def test_an_entry_needs_two_postings():
    with pytest.raises(LedgerError, match="two postings"):
        make_journal().post(Entry(date(2024, 1, 1), "Nothing", (Posting("Assets:Cash", eur("0")),)))


def test_accounts_are_checked():
    journal = make_journal()
    usd = Money.of("5", "USD")
    with pytest.raises(LedgerError, match="holds EUR"):
        journal.post(
            Entry(
                date(2024, 1, 1),
                "Dues",
                (Posting("Assets:Bank", usd), Posting("Income:Dues", -usd)),
            )
        )
    with pytest.raises(LedgerError, match="no account"):
        journal.post(
            Entry(
                date(2024, 1, 1),
                "Dues",
                (Posting("Assets:Safe", usd), Posting("Income:Dues", -usd)),
            )
        )


def test_a_closed_account_takes_nothing_from_that_day_on():
    journal = make_journal()
    journal.chart.close("Assets:Bank", on=date(2024, 1, 15))
    journal.post(make_entry(14))
    with pytest.raises(LedgerError, match="closed"):
        journal.post(make_entry(15))


def test_several_entries_are_posted_together_or_not_at_all():
    journal = make_journal()
    bad = Entry(date(2024, 1, 2), "Bad", (Posting("Assets:Bank", eur("1")),) * 2)
    with pytest.raises(UnbalancedEntry):
        journal.post_all([make_entry(1, reference="a"), bad])
    assert len(journal) == 0
    assert not journal.has_reference("a")


def test_references_are_unique():
    journal = make_journal()
    journal.post(make_entry(reference="bank/1"))
    with pytest.raises(LedgerError, match="in use"):
        journal.post(make_entry(reference="bank/1"))
    with pytest.raises(LedgerError, match="in use"):
        journal.post_all([make_entry(reference="bank/2"), make_entry(reference="bank/2")])
    assert len(journal) == 1


def test_void_posts_a_reversal():
    journal = make_journal()
    journal.post(make_entry(15, reference="bank/1"))
    (reversal,) = journal.void(1, on=date(2024, 1, 20), reason="paid twice")
    assert reversal.description == "Void 1: paid twice"
    assert reversal.reverses == 1
    assert reversal.reference == ""
    assert journal.is_voided(1) and not journal.is_voided(2)
    assert balance(journal, "Assets:Bank", on=date(2024, 1, 19)) == {"EUR": eur("100.00")}
    assert balance(journal, "Assets:Bank") == {}


def test_a_reversal_is_not_dated_before_its_entry():
    journal = make_journal()
    journal.post(make_entry(15))
    (reversal,) = journal.void(1, on=date(2024, 1, 3))
    assert reversal.date == date(2024, 1, 15)


def test_what_cannot_be_voided():
    journal = make_journal()
    journal.post(make_entry())
    journal.void(1, on=date(2024, 2, 1))
    with pytest.raises(LedgerError, match="voided already"):
        journal.void(1, on=date(2024, 2, 1))
    with pytest.raises(LedgerError, match="is a reversal"):
        journal.void(2, on=date(2024, 2, 1))
    with pytest.raises(LedgerError, match="no entry 9"):
        journal.void(9, on=date(2024, 2, 1))


def test_entries_of_one_group_are_voided_together():
    journal = make_journal()
    journal.post_all([make_entry(5, group="fair"), make_entry(5, "20.00", group="fair")])
    journal.post(make_entry(5, "7.00"))
    assert [entry.number for entry in journal.event(2)] == [1, 2]
    assert len(journal.void(2, on=date(2024, 1, 6))) == 2
    assert balance(journal, "Assets:Bank") == {"EUR": eur("7.00")}


def test_an_entry_without_a_group_stands_alone():
    journal = make_journal()
    journal.post(make_entry())
    journal.post(make_entry())
    assert [entry.number for entry in journal.event(1)] == [1]
