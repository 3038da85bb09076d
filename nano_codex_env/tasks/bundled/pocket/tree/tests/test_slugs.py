from pocket.slugs import slug


def test_words_and_digits():
    assert slug("Ten Ways to Peel 3 Oranges!") == "ten-ways-to-peel-3-oranges"
    assert slug("  -- a/b --  ") == "a-b"
    assert slug("...") == ""


def test_accents_are_taken_off():
    assert slug("Cr\u00e8me br\u00fbl\u00e9e") == "creme-brulee"


def test_another_joiner():
    assert slug("Two Words", joiner="_") == "two_words"
