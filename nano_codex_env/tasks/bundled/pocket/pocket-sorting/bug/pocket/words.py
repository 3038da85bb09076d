"""Lists of words for people to read."""


def sort_words(words: list[str], fold: bool = False) -> list[str]:
    """The words in alphabetical order.

    Upper and lower case count the same, and words that differ
    only in case stay in the order they had. If `fold` is false,
    all capitals come before all small letters.
    """
    return sorted(words, key=str.casefold if fold else None)


def index_words(words: list[str]) -> dict[str, list[str]]:
    """The words, sorted, below their first letters in capitals."""
    index: dict[str, list[str]] = {}
    for word in sort_words(words):
        index.setdefault(word[:1].upper(), []).append(word)
    return index


def join_words(words: list[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`; nothing for no words."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
