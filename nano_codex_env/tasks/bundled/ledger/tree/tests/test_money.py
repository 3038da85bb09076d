"""Money is exact, in one currency, and rounds where it says."""

from decimal import Decimal

import pytest

from ledger import LedgerError, Money


def eur(text):
    return Money.of(text, "EUR")


def test_amounts_take_the_places_of_their_currency():
    assert str(eur("5")) == "5.00 EUR"
    assert str(Money.of("1234567", "JPY")) == "1,234,567 JPY"
    assert str(Money.of("0.5", "KWD")) == "0.500 KWD"


def test_equal_amounts_are_equal_however_written():
    assert eur("2.5") == eur("2.50")
    assert hash(eur("2.5")) == hash(eur("2.50"))
    assert eur("2.50") != Money.of("2.50", "USD")


def test_zero_has_no_sign():
    assert str(-eur("0")) == "0.00 EUR"
    assert str(Money.rounded(Decimal("-0.001"), "EUR")) == "0.00 EUR"


@pytest.mark.parametrize(
    ("text", "currency", "words"),
    [
        ("1.005", "EUR", "too fine"),
        ("0.5", "JPY", "too fine"),
        ("ten", "EUR", "not an amount"),
        ("NaN", "EUR", "not an amount"),
        ("1", "XYZ", "unknown currency"),
    ],
    ids=["three-places", "half-yen", "word", "nan", "currency"],
)
def test_what_is_not_money_is_refused(text, currency, words):
    with pytest.raises(LedgerError, match=words):
        Money.of(text, currency)


def test_sums_and_order():
    assert eur("1.10") + eur("2.20") == eur("3.30")
    assert eur("1.00") - eur("2.50") == eur("-1.50")
    assert sorted([eur("3"), eur("-1"), eur("2")]) == [eur("-1"), eur("2"), eur("3")]
    assert abs(eur("-4")) == eur("4")
    assert not eur("0")


def test_currencies_do_not_mix():
    with pytest.raises(LedgerError, match="different currencies"):
        eur("1") + Money.of("1", "USD")
    with pytest.raises(LedgerError, match="different currencies"):
        eur("1") < Money.of("1", "USD")


@pytest.mark.parametrize(
    ("amount", "rate", "expected"),
    [
        ("100.00", "19", "19.00"),
        ("0.10", "5", "0.01"),
        ("-0.10", "5", "-0.01"),
        ("9.99", "7.5", "0.75"),
        ("33.33", "0", "0.00"),
    ],
)
def test_percent_rounds_half_away_from_zero(amount, rate, expected):
    assert eur(amount).percent(rate) == eur(expected)


def test_convert_rounds_in_the_new_currency():
    assert eur("10.00").convert("163.456", "JPY") == Money.of("1635", "JPY")
    assert Money.of("1000", "JPY").convert("0.0061", "EUR") == eur("6.10")


def test_times():
    assert eur("19.99").times(3) == eur("59.97")
    assert eur("0.05").times(Decimal("0.5")) == eur("0.03")


@pytest.mark.parametrize(
    ("amount", "weights", "expected"),
    [
        ("10.00", [1, 1, 1], ["3.34", "3.33", "3.33"]),
        ("0.05", [1, 1, 1], ["0.02", "0.02", "0.01"]),
        ("100.00", [3, 1], ["75.00", "25.00"]),
        ("1.00", [0, 1, 2], ["0.00", "0.34", "0.66"]),
        ("0.00", [1, 1], ["0.00", "0.00"]),
        ("-9.00", [1, 1, 1], ["-3.00", "-3.00", "-3.00"]),
        ("-60.00", [1, 2], ["-20.00", "-40.00"]),
    ],
    ids=["thirds", "five-cents", "quarters", "no-weight", "nothing", "refund", "refund-weighted"],
)
def test_allocate(amount, weights, expected):
    assert eur(amount).allocate(weights) == [eur(part) for part in expected]


def test_allocate_knows_the_unit_of_the_currency():
    parts = Money.of("1000", "JPY").allocate([1, 1, 1])
    assert [int(part.amount) for part in parts] == [334, 333, 333]


@pytest.mark.parametrize("weights", [[], [0, 0], [2, -1]], ids=["none", "zeros", "negative"])
def test_allocate_needs_weights(weights):
    with pytest.raises(LedgerError, match="cannot split"):
        eur("1.00").allocate(weights)
