"""The caller of DICOMweb, with the use cases that its handlers share.

Handlers of one resource of PS3.18 search, locate, read and transcode in one request, so that they
receive the use cases together.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.pixels.service import Pixels
from swallowtail.cloud.query.parts import Frames
from swallowtail.cloud.query.search import Query
from swallowtail.cloud.web.access import InOrganisation, use_cases_of


@dataclass(frozen=True)
class Retrieval(Caller):
    """A caller that searches and retrieves."""

    query: Query
    frames: Frames
    pixels: Pixels


async def _retrieval(caller: InOrganisation, request: Request) -> Retrieval:
    use_cases = use_cases_of(request)
    return Retrieval(
        caller.principal,
        caller.tenant,
        caller.address,
        query=use_cases.get(Query),
        frames=use_cases.get(Frames),
        pixels=use_cases.get(Pixels),
    )


Retrieving = Annotated[Retrieval, Depends(_retrieval)]
