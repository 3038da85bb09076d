import pytest

from roster import Site, Zone

CENTRAL = Zone(
    "Central Europe", "+01:00", "last Sunday of March 02:00", "last Sunday of October 03:00"
)
NEW_ZEALAND = Zone(
    "New Zealand", "+12:00", "last Sunday of September 02:00", "first Sunday of April 03:00"
)
PACIFIC = Zone(
    "Pacific", "-08:00", "second Sunday of March 02:00", "first Sunday of November 02:00"
)
INDIA = Zone("India", "+05:30")


@pytest.fixture
def hamburg():
    return Site("Hamburg", CENTRAL)


@pytest.fixture
def bremen():
    return Site("Bremen", CENTRAL)


@pytest.fixture
def dunedin():
    return Site("Dunedin", NEW_ZEALAND)


@pytest.fixture
def tacoma():
    return Site("Tacoma", PACIFIC)


@pytest.fixture
def pune():
    return Site("Pune", INDIA)
