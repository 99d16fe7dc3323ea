"""The media types that a client accepts (PS3.18 8.7.4, 8.7.5).

Its `Accept` as choices in order, and the first offer that one of them allows.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.requests import Request

from swallowtail.cloud.web.problems import ProblemError

MULTIPART: Final = "multipart/related"
JSON: Final = "application/dicom+json"
DICOM: Final = "application/dicom"
OCTETS: Final = "application/octet-stream"
ANY: Final = "*/*"
MAX_LENGTH: Final = 4096
_PARTS: Final = re.compile(r'(?:[^,"]|"[^"]*")+')
_PARAMETERS: Final = re.compile(r'(?:[^;"]|"[^"]*")+')


@dataclass(frozen=True, slots=True)
class Choice:
    """One media range: of a part in a multipart response.

    `syntax` is empty where none is given, `*` for any.
    """

    media: str
    syntax: str
    multipart: bool | None
    """None: either way."""
    quality: float

    def allows(self, media: str) -> bool:
        """Return whether a media type is in the range."""
        main, _, sub = self.media.partition("/")
        return self.media in {media, ANY} or (sub == "*" and media.startswith(f"{main}/"))


def choices(request: Request) -> list[Choice]:
    """Read what is accepted, best first.

    The query parameter `accept` goes before the header (PS3.18 8.3.3.1).
    """
    text = (
        ", ".join(request.query_params.getlist("accept"))
        or request.headers.get("accept", "")
        or ANY
    )
    if len(text) > MAX_LENGTH:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            "accept",
            f"Accept is longer than {MAX_LENGTH} characters",
            remedy="Ask for fewer media types.",
        )
    found = [_choice(part) for part in _PARTS.findall(text)]
    return sorted((one for one in found if one.quality > 0), key=lambda one: -one.quality)


def check_json(request: Request) -> None:
    """Refuse who takes no JSON; the XML of PS3.18 Annex F.3 is an option that we leave out."""
    if not any(
        one.multipart is not True and (one.allows(JSON) or one.allows("application/json"))
        for one in choices(request)
    ):
        raise not_acceptable([JSON])


def not_acceptable(offered: Iterable[str]) -> ProblemError:
    """Return the problem that no accepted media type is available; it lists the available ones."""
    return ProblemError(
        HTTPStatus.NOT_ACCEPTABLE,
        "not-acceptable",
        "nothing that Accept allows can be given here",
        remedy="Ask for one of: " + ", ".join(offered),
    )


def _choice(text: str) -> Choice:
    media, *rest = (part.strip() for part in _PARAMETERS.findall(text))
    parameters: dict[str, str] = {}
    for one in rest:
        name, _, value = one.partition("=")
        parameters[name.strip().lower()] = value.strip().strip('"').strip()
    media = media.lower()
    multipart: bool | None = None if media == ANY else False
    if media in {MULTIPART, "multipart/*"}:
        media, multipart = parameters.get("type", ANY).lower(), True
    return Choice(
        media, parameters.get("transfer-syntax", ""), multipart, _quality(parameters.get("q", "1"))
    )


def _quality(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0
