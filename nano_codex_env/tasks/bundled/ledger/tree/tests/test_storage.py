"""A journal is the same after it was written and read."""

from datetime import date

import pytest

from ledger import Chart, Entry, Journal, LedgerError, Money, Posting, UnbalancedEntry, dump, load


def make_journal():
    chart = Chart()
    chart.open("Assets:Bank", currency="KWD")
    chart.open("Assets:Kasse für Tee")
    money = Money.of("1.250", "KWD")
    postings = (Posting("Assets:Bank", money), Posting("Assets:Kasse für Tee", -money))
    journal = Journal(chart)
    journal.post(Entry(date(2024, 5, 2), "Tee\u2028und Kekse", postings, reference="a", group="g"))
    journal.post(Entry(date(2024, 5, 1), "Tee", postings))
    journal.void(2, on=date(2024, 5, 3))
    chart.close("Assets:Bank", on=date(2024, 6, 1))
    return journal


def test_a_journal_survives():
    journal = make_journal()
    again = load(dump(journal))
    assert list(again) == list(journal)
    assert list(again.chart) == list(journal.chart)
    assert dump(again) == dump(journal)


def test_what_is_known_of_the_entries_survives():
    again = load(dump(make_journal()))
    assert again.has_reference("a")
    assert [again.is_voided(number) for number in (1, 2, 3)] == [False, True, False]
    assert again.event(1)[0].group == "g"


def test_an_empty_journal():
    assert dump(Journal(Chart())) == '{"ledger": 1}\n'
    assert len(load('{"ledger": 1}\n')) == 0


def test_another_version_is_refused():
    with pytest.raises(LedgerError, match="not a ledger of version 1"):
        load('{"ledger": 7}\n')


def test_a_file_that_was_tampered_with_is_refused():
    text = dump(make_journal()).replace('"1.250"', '"9.250"', 1)
    with pytest.raises(UnbalancedEntry):
        load(text)
