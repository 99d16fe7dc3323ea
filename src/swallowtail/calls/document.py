"""The parts that every struct of a Link's configuration document is made of."""

import ipaddress
from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from swallowtail.calls.codec import Call
from swallowtail.dicom import ae_titles, uids

MAX_TEXT: Final = 400
"""Characters of a problem's text."""

END: Final = r"$(?!\n)"
"""End of a pattern: `$` alone accepts a final line feed, and JSON Schema has no `\\Z`."""

_AE_TITLE: Final = f"^{ae_titles.PATTERN}{END}"
AeTitle = Annotated[str, Meta(min_length=1, max_length=ae_titles.MAX_LENGTH, pattern=_AE_TITLE)]
_NAME: Final = r"^[a-z0-9][a-z0-9._-]*" + END
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=_NAME)]
_UID: Final = f"^{uids.PATTERN}{END}"
Uid = Annotated[str, Meta(min_length=1, max_length=uids.MAX_LENGTH, pattern=_UID)]
Address = Annotated[str, Meta(max_length=64)]
"""An IP address, or a network where the field allows it; `problems` checks its form."""
Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the parts of the document.

    An unknown field is an error: whoever wrote it expects it to have an effect.
    """


class ListenerSettings(Document, frozen=True, kw_only=True, tag_field="protocol"):
    """An open port of Link; each protocol derives a struct with its own settings.

    `protocol` in the document names the protocol (`calls.config.LISTENERS`).
    """

    name: Name
    port: Port
    address: Address = "0.0.0.0"  # noqa: S104 - the policy file narrows it

    @property
    def protocol(self) -> str:
        """Return the protocol, which is the tag of the struct."""
        return str(self.__struct_config__.tag)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Find what the types cannot forbid: fields with what is wrong with them.

        A protocol with rules of its own extends this.
        """
        if not _is_address(self.address):
            yield "address", f"{self.address!r} is not an IP address"


class Problem(Call, frozen=True, kw_only=True):
    """A reason why a document is refused: the field, what is wrong with it, and the remedy."""

    field: str
    message: str


def problem_of(message: str) -> Problem:
    """Translate a validation error of msgspec.

    A pattern is replaced by the rule that it is for.
    """
    text, _, path = message.partition(" - at ")
    text = _RULES.get(text, text)
    return Problem(field=path.strip("`") or "$", message=text[:MAX_TEXT])


_RULES: Final = {
    f"Expected `str` matching regex {pattern!r}": rule
    for pattern, rule in {
        _AE_TITLE: (
            "is not an AE title: 1 to 16 ASCII characters, not only spaces, without backslash "
            "and control characters (PS3.5 6.2)"
        ),
        _UID: (
            "is not a UID: 1 to 64 characters, components of digits separated by single dots (PS3.5"
            " 9.1)"
        ),
        _NAME: (
            "is not a name: lower-case letters, digits, '.', '_' and '-', beginning with a letter"
            " or digit"
        ),
    }.items()
}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
