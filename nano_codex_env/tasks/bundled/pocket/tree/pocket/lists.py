"""Lists made of other lists."""

from typing import TypeVar

T = TypeVar("T")


def chunks(items: list[T], size: int) -> list[list[T]]:
    """Cut into pieces of `size` items; the last may be shorter."""
    if size < 1:
        raise ValueError("size must be at least 1")
    starts = range(0, len(items), size)
    return [items[start : start + size] for start in starts]


def windows(items: list[T], size: int) -> list[list[T]]:
    """All runs of `size` neighbours, from left to right."""
    if size < 1:
        raise ValueError("size must be at least 1")
    starts = range(len(items) - size + 1)
    return [items[start : start + size] for start in starts]


def unique(items: list[T]) -> list[T]:
    """Each item once, where it was first; items must be hashable."""
    return list(dict.fromkeys(items))
