"""Paging of every list: `limit` and `cursor` in, `next` out."""

from typing import Annotated

from fastapi import Depends, Query

from swallowtail.cloud.model.paging import MAX_PAGE, PageRequest


def page_request(
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items of a page.")] = 100,
    cursor: Annotated[
        str | None, Query(max_length=1024, description="`next` of the page before.")
    ] = None,
) -> PageRequest:
    """Read which page is asked for."""
    return PageRequest(limit, cursor)


Paging = Annotated[PageRequest, Depends(page_request)]
