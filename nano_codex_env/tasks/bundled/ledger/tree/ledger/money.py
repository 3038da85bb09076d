"""Exact amounts of money, each in one currency."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from ledger.errors import LedgerError

PLACES = {"CHF": 2, "EUR": 2, "GBP": 2, "JPY": 0, "KWD": 3, "NOK": 2, "PLN": 2, "USD": 2}
"""Decimal places of the currencies that we know."""


def minor_unit(currency: str) -> Decimal:
    """The smallest amount of a currency: 0.01 for EUR, 1 for JPY."""
    try:
        return Decimal(1).scaleb(-PLACES[currency])
    except KeyError:
        raise LedgerError(f"unknown currency {currency!r}; known are {', '.join(PLACES)}") from None


@dataclass(frozen=True)
class Money:
    """An amount that a currency can express exactly."""

    amount: Decimal
    currency: str

    def __post_init__(self) -> None:
        if not self.amount.is_finite():
            raise LedgerError(f"not an amount: {self.amount}")
        exact = self.amount.quantize(minor_unit(self.currency))
        if exact != self.amount:
            places = PLACES[self.currency]
            raise LedgerError(f"{self.amount} is too fine: {self.currency} has {places} places")
        object.__setattr__(self, "amount", exact if exact else abs(exact))

    @classmethod
    def of(cls, text: str | int | Decimal, currency: str) -> "Money":
        """Money from the plain notation, as in `Money.of("12.50", "EUR")`."""
        try:
            return cls(Decimal(text), currency)
        except InvalidOperation:
            raise LedgerError(f"not an amount: {text!r}") from None

    @classmethod
    def zero(cls, currency: str) -> "Money":
        return cls(Decimal(0), currency)

    @classmethod
    def rounded(cls, amount: Decimal, currency: str) -> "Money":
        """The nearest amount of the currency; halves go away from zero."""
        return cls(amount.quantize(minor_unit(currency), rounding=ROUND_HALF_UP), currency)

    def __add__(self, other: "Money") -> "Money":
        return Money(self.amount + self._same(other).amount, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.amount - self._same(other).amount, self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.amount, self.currency)

    def __abs__(self) -> "Money":
        return Money(abs(self.amount), self.currency)

    def __bool__(self) -> bool:
        return bool(self.amount)

    def __lt__(self, other: "Money") -> bool:
        return self.amount < self._same(other).amount

    def __le__(self, other: "Money") -> bool:
        return self.amount <= self._same(other).amount

    def __str__(self) -> str:
        return f"{self.amount:,f} {self.currency}"

    def times(self, factor: int | Decimal) -> "Money":
        return Money.rounded(self.amount * factor, self.currency)

    def percent(self, rate: str | int | Decimal) -> "Money":
        """So many percent of it, rounded once."""
        return Money.rounded(self.amount * Decimal(rate) / 100, self.currency)

    def convert(self, rate: str | Decimal, currency: str) -> "Money":
        """The same worth in another currency; the rate is what one unit of ours buys."""
        return Money.rounded(self.amount * Decimal(rate), currency)

    def allocate(self, weights: Sequence[int]) -> list["Money"]:
        """Split by weights so that the parts add up to the whole.

        Units that do not divide go one each to the first parts that have a weight.
        A negative amount is split like the positive one, with the signs turned.
        """
        total = sum(weights)
        if total <= 0 or min(weights) < 0:
            raise LedgerError(f"cannot split by weights {list(weights)}")
        unit = minor_unit(self.currency)
        units = int(self.amount / unit)
        step = -1 if units < 0 else 1
        shares = [step * (abs(units) * weight // total) for weight in weights]
        left = abs(units - sum(shares))
        takers = [index for index, weight in enumerate(weights) if weight]
        for index in takers[:left]:
            shares[index] += step
        return [Money(share * unit, self.currency) for share in shares]

    def _same(self, other: "Money") -> "Money":
        if other.currency != self.currency:
            raise LedgerError(f"{self} and {other} are in different currencies")
        return other
