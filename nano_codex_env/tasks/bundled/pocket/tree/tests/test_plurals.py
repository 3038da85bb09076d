from pocket.plurals import plural


def test_one_and_many():
    assert plural(1, "file") == "1 file"
    assert plural(0, "file") == "0 files"
    assert plural(2, "file") == "2 files"


def test_words_with_a_plural_of_their_own():
    assert plural(1, "mouse", "mice") == "1 mouse"
    assert plural(3, "mouse", "mice") == "3 mice"
