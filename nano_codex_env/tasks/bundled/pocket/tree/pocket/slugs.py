"""Titles for use in addresses."""

import re
import unicodedata


def slug(title: str, joiner: str = "-") -> str:
    """Small letters and digits, with `joiner` between words.

    Accents are taken off; all other signs end a word.
    """
    signs = unicodedata.normalize("NFKD", title.lower())
    plain = "".join(one for one in signs if not unicodedata.combining(one))
    return joiner.join(re.findall(r"[a-z0-9]+", plain))
