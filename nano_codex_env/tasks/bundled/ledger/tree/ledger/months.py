"""Calendar months, and dates that are so many months apart."""

import calendar
from dataclasses import dataclass
from datetime import date

from ledger.errors import LedgerError


@dataclass(frozen=True, order=True)
class Month:
    """A month of a year."""

    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> "Month":
        """From the form 2024-02."""
        year, _, month = text.partition("-")
        if len(year) != 4 or len(month) != 2 or not (year + month).isdecimal():
            raise LedgerError(f"not a month: {text!r}; write it like 2024-02")
        if not 1 <= int(month) <= 12:
            raise LedgerError(f"not a month: {text!r}; there are twelve")
        return cls(int(year), int(month))

    @classmethod
    def of(cls, day: date) -> "Month":
        return cls(day.year, day.month)

    @property
    def first(self) -> date:
        return date(self.year, self.month, 1)

    @property
    def last(self) -> date:
        return date(self.year, self.month, calendar.monthrange(self.year, self.month)[1])

    def plus(self, months: int) -> "Month":
        index = self.year * 12 + self.month - 1 + months
        return Month(index // 12, index % 12 + 1)

    def until(self, last: "Month") -> list["Month"]:
        """This month to the last one, both included."""
        count = (last.year - self.year) * 12 + last.month - self.month + 1
        return [self.plus(index) for index in range(count)]

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"


def add_months(day: date, months: int) -> date:
    """The same day so many months later, or the last one of a month too short for it."""
    month = Month.of(day).plus(months)
    return date(month.year, month.month, min(day.day, month.last.day))
