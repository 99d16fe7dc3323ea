"""Keywords of the data dictionary (PS3.6), for conditions on any indexed tag.

The dictionary comes with pydicom and takes 0.1 s and 20 MB to load, so it is loaded in a thread,
and only where a tag is named by its keyword.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Final

from swallowtail.cloud.model.delivery import Rule

Tags = Callable[[str], str]
"""Returns the eight hexadecimal digits of a keyword, or '' for an unknown one."""
_DIGITS: Final = re.compile(r"([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})")


def digits_of(name: str) -> str:
    """Return the eight digits of a tag written as gggg,eeee or ggggeeee, with or without brackets.

    '' when it is not.
    """
    found = _DIGITS.fullmatch(name.strip().removeprefix("(").removesuffix(")"))
    return (found[1] + found[2]).upper() if found else ""


async def tags_for(rules: Iterable[Rule]) -> Tags:
    """Return what these rules need of the dictionary."""
    if any(not digits_of(name) for rule in rules for name, _ in rule.condition.tags):
        return await dictionary()
    return _nothing


async def dictionary() -> Tags:
    """Load the dictionary."""
    return await asyncio.to_thread(_dictionary)


def _nothing(_keyword: str) -> str:
    return ""


def _dictionary() -> Tags:
    from pydicom.datadict import tag_for_keyword  # noqa: PLC0415 - see above

    def find(keyword: str) -> str:
        tag = tag_for_keyword(keyword.strip())
        return "" if tag is None else f"{tag:08X}"

    return find
