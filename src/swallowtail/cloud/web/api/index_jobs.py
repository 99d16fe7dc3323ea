"""Index jobs of an organisation."""

from typing import Final

from swallowtail.cloud.model.audit import EventAction, EventId
from swallowtail.cloud.web.access import InOrganisation
from swallowtail.cloud.web.api.schemas import Body, Out, UidText
from swallowtail.cloud.web.roles import QUEUE_MANAGERS
from swallowtail.cloud.web.route import REFUSED, Route


class IndexCountsOut(Out):
    """State of the index: jobs that wait, and instances whose data set could not be indexed."""

    waiting: int
    quarantined: int


class Reindex(Body):
    """What to index again: one study, or everything."""

    study: UidText | None = None


class Queued(Out):
    """How many instances were queued."""

    queued: int


async def get_index_jobs(caller: InOrganisation) -> IndexCountsOut:
    """Return how many index jobs wait and how many instances are quarantined."""
    return IndexCountsOut.model_validate(await caller.services.reindexing.counts(caller.tenant))


async def reindex(caller: InOrganisation, body: Reindex) -> Queued:
    """Queue an index job for every instance of the organisation, or of one study.

    What is indexed stays visible meanwhile.
    """
    objects = () if body.study is None else (("study", body.study),)
    event = caller.event(
        EventAction.EXECUTE, "index.rebuild", *objects, event=EventId.APPLICATION_ACTIVITY
    )
    return Queued(queued=await caller.services.reindexing.queue(caller.tenant, body.study, event))


ROUTES: Final = (
    Route("GET", "/index-jobs", get_index_jobs, QUEUE_MANAGERS, REFUSED, "imaging"),
    Route("POST", "/index-jobs", reindex, QUEUE_MANAGERS, REFUSED, "imaging", 202),
)
