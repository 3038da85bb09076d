"""Degrees of three scales."""

ZERO_CELSIUS = 273.15


def to_fahrenheit(celsius: float) -> float:
    """Degrees Celsius in degrees Fahrenheit."""
    return celsius * 9 / 5 + 32


def to_celsius(fahrenheit: float) -> float:
    """Degrees Fahrenheit in degrees Celsius."""
    return (fahrenheit - 32) * 5 / 9


def to_kelvin(celsius: float) -> float:
    """Degrees Celsius in kelvins; nothing is colder than zero."""
    if celsius < -ZERO_CELSIUS:
        raise ValueError("colder than absolute zero")
    return celsius + ZERO_CELSIUS
