"""Parameters of ours that narrow what a DICOMweb request is about: an archive, a facility."""

from typing import Final, TypeVar

import msgspec
from starlette.requests import Request

from swallowtail.cloud.model.imaging import InstanceSearch, SeriesSearch, StudySearch

Search = TypeVar("Search", StudySearch, SeriesSearch, InstanceSearch)
LIMITS: Final = {"archive": "archives", "facility": "facilities"}
"""Which limit of a search each of the parameters sets."""
NAMES: Final = frozenset({"organisation", *LIMITS})
"""Parameters that are no keys of DICOM."""


def narrowed(search: Search, request: Request) -> Search:
    """Return a search within the archive and facility that the request names, if any."""
    given = {limit: request.query_params.get(name) for name, limit in LIMITS.items()}
    return msgspec.structs.replace(
        search, **{limit: frozenset({one}) for limit, one in given.items() if one}
    )
