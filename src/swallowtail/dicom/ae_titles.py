"""AE titles (PS3.5 6.2, VR AE): which are valid, and when two are the same."""

import re
from typing import Final

MAX_LENGTH: Final = 16
PATTERN: Final = r"[ -\[\]-~]*[!-\[\]-~][ -\[\]-~]*"
"""The default character repertoire without backslash and control characters; not only spaces."""

_TITLE: Final = re.compile(PATTERN)


def is_valid(title: str) -> bool:
    """Return whether `title` is an AE title.

    Padding that PS3.8 9.3.2 adds must be removed before.
    """
    return len(title) <= MAX_LENGTH and _TITLE.fullmatch(title) is not None


def significant(title: str) -> str:
    """Return `title` without the leading and trailing spaces, which have no meaning."""
    return title.strip(" ")
