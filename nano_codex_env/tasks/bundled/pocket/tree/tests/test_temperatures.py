import pytest

from pocket.temperatures import to_celsius, to_fahrenheit, to_kelvin


@pytest.mark.parametrize(("celsius", "fahrenheit"), [(0, 32), (100, 212), (-40, -40), (37, 98.6)])
def test_there_and_back(celsius, fahrenheit):
    assert to_fahrenheit(celsius) == pytest.approx(fahrenheit)
    assert to_celsius(fahrenheit) == pytest.approx(celsius)


def test_kelvin():
    assert to_kelvin(0) == pytest.approx(273.15)
    assert to_kelvin(-273.15) == 0
    with pytest.raises(ValueError, match="absolute zero"):
        to_kelvin(-274)
