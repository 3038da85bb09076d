from pocket.words import index_words, join_words, sort_words


def test_words_are_sorted():
    assert sort_words(["pear", "apple", "fig"]) == ["apple", "fig", "pear"]
    assert sort_words([]) == []


def test_the_list_that_came_in_is_not_changed():
    words = ["pear", "apple"]
    sort_words(words)
    assert words == ["pear", "apple"]


def test_fold_on_and_off():
    words = ["pear", "Fig", "apple"]
    assert sort_words(words, fold=True) == ["apple", "Fig", "pear"]
    assert sort_words(words, fold=False) == ["Fig", "apple", "pear"]


def test_an_index_has_letters():
    words = ["Bonn", "Aachen", "Berlin"]
    assert index_words(words) == {"A": ["Aachen"], "B": ["Berlin", "Bonn"]}


def test_join_words():
    assert join_words([]) == ""
    assert join_words(["a"]) == "a"
    assert join_words(["a", "b"]) == "a and b"
    assert join_words(["a", "b", "c"], last="or") == "a, b or c"
