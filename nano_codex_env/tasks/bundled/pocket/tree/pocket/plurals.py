"""One thing, two things."""


def plural(count: int, one: str, many: str = "") -> str:
    """`1 file`, `2 files`; `many` is for words like `mice`."""
    if count == 1:
        return f"{count} {one}"
    return f"{count} {many or one + 's'}"
