"""The REST resource of unindexed instances: stored, but not in a study (yet).

They are downloaded and deleted as every instance is: `/instances/{instance_id}`.
"""

import enum
from typing import Annotated, Final

from fastapi import Query as QueryParameter
from pydantic import Field

from swallowtail.cloud.index.reindexing import Reindexing
from swallowtail.cloud.model.imaging import IndexState, InstanceSearch
from swallowtail.cloud.query.search import Query
from swallowtail.cloud.web.access import InOrganisation
from swallowtail.cloud.web.api.index_jobs import Administration, Queued
from swallowtail.cloud.web.api.schemas import MAX_NUMBER, Body, Moment, PageOut, page_out
from swallowtail.cloud.web.api.studies import InstanceOut, Reading, UidKey, instance_out
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.roles import PATIENT_DATA_READERS, QUEUE_MANAGERS
from swallowtail.cloud.web.route import BY_FACILITY, Route

MAX_NAMED = 1000
Ids = Annotated[
    tuple[Annotated[int, Field(strict=True, ge=1, le=MAX_NUMBER)], ...],
    Field(min_length=1, max_length=MAX_NAMED),
]

FacilityKey = Annotated[str | None, QueryParameter(max_length=64)]


class UnindexedState(enum.StrEnum):
    """Why an instance is not indexed."""

    WAITING = IndexState.WAITING.value
    QUARANTINED = IndexState.QUARANTINED.value


class ReindexUnindexed(Body):
    """A selection of instances by id; without it, every quarantined one."""

    instances: Ids | None = None


async def list_unindexed_instances(
    caller: InOrganisation,
    query: Reading,
    page: Paging,
    *,
    state: UnindexedState | None = None,
    facility: FacilityKey = None,
    sop_instance: UidKey = None,
    received_since: Moment | None = None,
) -> PageOut[InstanceOut]:
    """List unindexed instances.

    Returns the instances that wait for the index or that it could not read (`quarantined`, with the
    `problem`), in the order of arrival, also copies that are not visible. Each was acknowledged
    when it was stored. Download one with `GET /instances/{id}/file`, delete it with `DELETE
    /instances/{id}`.
    """
    search = InstanceSearch(
        unindexed=True,
        state=None if state is None else IndexState(state),
        facilities=None if facility is None else frozenset({facility}),
        sop_instances=(sop_instance,) if sop_instance else (),
        received_since=received_since,
        hidden=True,
    )
    found = await query.instances(caller, search, page)
    return page_out(found, instance_out)


async def reindex_unindexed_instances(
    caller: InOrganisation, reindexing: Administration, body: ReindexUnindexed
) -> Queued:
    """Index unindexed instances again.

    Queues an index job for each named instance that is not indexed, or for every quarantined one.
    They are `waiting` until it is done; one that is read then appears in its study, is routed by
    the rules, and its alarm is cleared. Ids of indexed, unknown or deleted instances are left out
    of the count.
    """
    return Queued(queued=await reindexing.requeue(caller, body.instances))


ROUTES: Final = (
    Route(
        "GET",
        "/unindexed-instances",
        list_unindexed_instances,
        PATIENT_DATA_READERS,
        BY_FACILITY,
        "imaging",
        use_case=Query.instances,
        audit="instance.search",
    ),
    Route(
        "POST",
        "/unindexed-instances/reindex",
        reindex_unindexed_instances,
        QUEUE_MANAGERS,
        BY_FACILITY,
        "imaging",
        202,
        use_case=Reindexing.requeue,
        audit="index.requeue",
    ),
)
