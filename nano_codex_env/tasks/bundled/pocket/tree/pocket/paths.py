"""Paths as text, with forward slashes; no disk is looked at."""


def basename(path: str) -> str:
    """What comes after the last slash."""
    return path.rpartition("/")[2]


def extension(path: str) -> str:
    """What comes after the last dot of the name, without the dot.

    A dot at the very beginning makes a hidden file, not an
    extension.
    """
    name = basename(path)
    stem, _, ending = name.rpartition(".")
    return ending if stem else ""


def join(*parts: str) -> str:
    """The parts with a slash between them, without the empty ones."""
    path = ""
    for part in parts:
        if path and part:
            path = f"{path.rstrip('/')}/{part.lstrip('/')}"
        else:
            path = path or part
    return path
