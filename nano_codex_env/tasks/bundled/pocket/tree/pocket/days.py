"""Days and months of the Gregorian calendar, as numbers."""

LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def is_leap(year: int) -> bool:
    """Every fourth year; of full centuries every fourth one."""
    if year % 100 == 0:
        return year % 400 == 0
    return year % 4 == 0


def days_in_month(year: int, month: int) -> int:
    """How many days a month has; January is 1."""
    if not 1 <= month <= 12:
        raise ValueError(f"no such month: {month}")
    if month == 2 and is_leap(year):
        return 29
    return LENGTHS[month - 1]


def day_of_year(year: int, month: int, day: int) -> int:
    """The number of a day within its year; 1 January is 1."""
    if not 1 <= day <= days_in_month(year, month):
        raise ValueError(f"no such day: {day}")
    before = range(1, month)
    return day + sum(days_in_month(year, one) for one in before)
