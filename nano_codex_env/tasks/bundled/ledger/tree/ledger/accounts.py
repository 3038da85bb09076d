"""The chart of accounts: which accounts there are and what each may hold."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

from ledger.errors import LedgerError
from ledger.money import minor_unit

DEBIT_KINDS = frozenset({"Assets", "Expenses"})
KINDS = ("Assets", "Liabilities", "Equity", "Income", "Expenses")


@dataclass(frozen=True)
class Account:
    """One account of the chart."""

    name: str
    currency: str | None = None
    """The only currency it may hold; any when None."""
    closed_on: date | None = None
    """The first day that takes no more postings."""

    @property
    def kind(self) -> str:
        return self.name.partition(":")[0]

    @property
    def sign(self) -> int:
        """1 where more is a debit, -1 where more is a credit."""
        return 1 if self.kind in DEBIT_KINDS else -1


class Chart:
    """All accounts, by name."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    def open(self, name: str, *, currency: str | None = None) -> Account:
        kind, *rest = name.split(":")
        if kind not in KINDS:
            raise LedgerError(f"account {name!r} must start with one of {', '.join(KINDS)}")
        if not rest or not all(part.strip() == part and part for part in rest):
            raise LedgerError(f"account {name!r} needs a name like {kind}:Something")
        if name in self._accounts:
            raise LedgerError(f"account {name!r} is open already")
        if currency is not None:
            minor_unit(currency)
        self._accounts[name] = account = Account(name, currency)
        return account

    def ensure(self, name: str) -> Account:
        """The account, opened for any currency if it was not there."""
        return self._accounts.get(name) or self.open(name)

    def close(self, name: str, *, on: date) -> Account:
        self._accounts[name] = account = replace(self[name], closed_on=on)
        return account

    def __getitem__(self, name: str) -> Account:
        try:
            return self._accounts[name]
        except KeyError:
            raise LedgerError(f"no account {name!r}") from None

    def __contains__(self, name: str) -> bool:
        return name in self._accounts

    def __iter__(self) -> Iterator[Account]:
        """By kind in the order of a balance sheet, then by name."""
        return iter(
            sorted(self._accounts.values(), key=lambda one: (KINDS.index(one.kind), one.name))
        )

    def __len__(self) -> int:
        return len(self._accounts)

    def under(self, name: str) -> list[Account]:
        """The account of that name, if any, and all those below it."""
        return [one for one in self if one.name == name or one.name.startswith(name + ":")]
