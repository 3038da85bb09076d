import pytest

from pocket.lists import chunks, unique, windows


def test_chunks():
    assert chunks([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]
    assert chunks([1, 2, 3, 4], 2) == [[1, 2], [3, 4]]
    assert chunks([], 2) == []


def test_windows():
    assert windows([1, 2, 3, 4], 2) == [[1, 2], [2, 3], [3, 4]]
    assert windows([1, 2, 3], 3) == [[1, 2, 3]]
    assert windows([1, 2], 3) == []


@pytest.mark.parametrize("cut", [chunks, windows], ids=["chunks", "windows"])
def test_nothing_is_cut_into_nothing(cut):
    with pytest.raises(ValueError, match="at least 1"):
        cut([1, 2], 0)


def test_unique():
    assert unique(["b", "a", "b", "c", "a"]) == ["b", "a", "c"]
