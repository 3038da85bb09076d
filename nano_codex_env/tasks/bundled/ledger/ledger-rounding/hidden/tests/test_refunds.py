"""A refund is the exact opposite of the charge that it undoes."""

from datetime import date

import pytest

from ledger import Chart, Journal, Money, balance, share_cost
from ledger.sharing import owed


def plain(parts):
    return [str(part.amount) for part in parts]


def make_journal():
    chart = Chart()
    chart.open("Assets:Bank")
    return Journal(chart)


def share(journal, amount, weights, currency="EUR", **more):
    return share_cost(
        journal,
        Money.of(amount, currency),
        weights,
        on=date(2024, 6, 14),
        paid_from="Assets:Bank",
        description="Bus",
        **more,
    )


@pytest.mark.parametrize(
    ("amount", "currency", "weights", "expected"),
    [
        ("-50.00", "EUR", [1, 1, 1], ["-16.67", "-16.67", "-16.66"]),
        ("-100.00", "EUR", [1, 1, 1], ["-33.34", "-33.33", "-33.33"]),
        ("-0.01", "EUR", [1, 1], ["-0.01", "0.00"]),
        ("-10.00", "USD", [2, 1, 1, 2], ["-3.34", "-1.67", "-1.66", "-3.33"]),
        ("-1000", "JPY", [1, 1, 1], ["-334", "-333", "-333"]),
        ("-0.010", "KWD", [1, 2, 1], ["-0.003", "-0.005", "-0.002"]),
    ],
    ids=["bus", "thirds", "one-cent", "weights", "yen", "dinar"],
)
def test_a_refund_is_split_like_the_charge(amount, currency, weights, expected):
    assert plain(Money.of(amount, currency).allocate(weights)) == expected


def test_every_refund_undoes_its_charge():
    last = []  # what the last one is given back in all
    for weights in ([1, 1], [1, 2, 3], [7, 0, 1, 1], [0, 5, 3], [1] * 7):
        last.append(0)
        for yen in range(0, 130):
            money = Money.of(yen, "JPY")
            charged, refunded = money.allocate(weights), (-money).allocate(weights)
            assert [part.amount for part in refunded] == [-part.amount for part in charged]
            assert sum(part.amount for part in refunded) == -yen
            last[-1] += refunded[-1].amount
    assert last == [-4160, -4160, -875, -3088, -1143]


def test_nobody_without_a_weight_gets_money_back():
    parts = Money.of("-0.50", "EUR").allocate([0, 1, 0, 2, 4])
    assert plain(parts) == ["0.00", "-0.08", "0.00", "-0.14", "-0.28"]


def test_after_a_refund_nobody_owes_a_cent():
    journal = make_journal()
    weights = {"Ines": 1, "Jonas": 2, "Karl": 1, "Lea": 3}
    share(journal, "83.33", weights)
    share(journal, "-83.33", weights)
    assert [str(owed(journal, name, "EUR").amount) for name in weights] == [
        "0.00",
        "0.00",
        "0.00",
        "0.00",
    ]
    assert balance(journal, "Assets:Bank") == {}


def test_a_levy_is_given_back_too():
    journal = make_journal()
    weights = {"Ines": 1, "Jonas": 1, "Karl": 1}
    share(journal, "20.00", weights, levy="2.5")
    share(journal, "-20.00", weights, levy="2.5")
    assert [str(owed(journal, name, "EUR").amount) for name in weights] == [
        "0.00",
        "0.00",
        "0.00",
    ]
    assert balance(journal, "Income:Levies") == {}


def test_what_divides_is_given_back_evenly():
    journal = make_journal()
    share(journal, "-60.00", {"Ines": 1, "Jonas": 1, "Karl": 1})
    assert owed(journal, "Karl", "EUR") == Money.of("-20.00", "EUR")


def test_charges_are_split_as_before():
    assert plain(Money.of("50.00", "EUR").allocate([1, 1, 1])) == ["16.67", "16.67", "16.66"]
    assert plain(Money.of("0.02", "EUR").allocate([1, 0, 1, 1])) == ["0.01", "0.00", "0.01", "0.00"]
