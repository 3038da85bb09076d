import pytest

from pocket.days import day_of_year, days_in_month, is_leap


@pytest.mark.parametrize("year", [1600, 2000, 2024])
def test_leap_years(year):
    assert is_leap(year)
    assert days_in_month(year, 2) == 29
    assert day_of_year(year, 12, 31) == 366


@pytest.mark.parametrize("year", [1900, 2023, 2100])
def test_common_years(year):
    assert not is_leap(year)
    assert days_in_month(year, 2) == 28
    assert day_of_year(year, 12, 31) == 365


def test_day_of_year():
    assert day_of_year(2023, 1, 1) == 1
    assert day_of_year(2023, 3, 1) == 60
    assert day_of_year(2024, 3, 1) == 61


@pytest.mark.parametrize("month", [0, 13])
def test_no_such_month(month):
    with pytest.raises(ValueError, match="no such month"):
        days_in_month(2024, month)


@pytest.mark.parametrize("day", [0, 30])
def test_no_such_day(day):
    with pytest.raises(ValueError, match="no such day"):
        day_of_year(2024, 2, day)
