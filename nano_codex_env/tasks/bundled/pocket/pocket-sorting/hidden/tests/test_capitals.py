"""Capitals and small letters count the same unless one says otherwise."""

import pytest

from pocket.words import index_words, sort_words


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["apple", "Zebra", "fig"], ["apple", "fig", "Zebra"]),
        (["d", "b", "A", "E", "C"], ["A", "b", "C", "d", "E"]),
        (["iron", "HTML", "Iris", "html5", "XML"], ["HTML", "html5", "Iris", "iron", "XML"]),
    ],
    ids=["issue", "letters", "longer"],
)
def test_case_does_not_count(words, expected):
    assert sort_words(words) == expected


def test_words_that_differ_only_in_case():
    words = ["rose", "Rose", "ROSE", "oak"]
    assert sort_words(words) == ["oak", "rose", "Rose", "ROSE"]
    assert sort_words(words, fold=False) == ["ROSE", "Rose", "oak", "rose"]


def test_an_index_is_sorted_like_this_too():
    index = index_words(["Azure", "Bread", "apple", "banana", "Avocado", "azalea"])
    assert index == {"A": ["apple", "Avocado", "azalea", "Azure"], "B": ["banana", "Bread"]}
    assert list(index) == ["A", "B"]


def test_capitals_first_on_demand():
    words = ["apple", "Zebra", "fig"]
    assert sort_words(words, fold=False) == ["Zebra", "apple", "fig"]
    assert sort_words(words, False) == ["Zebra", "apple", "fig"]
