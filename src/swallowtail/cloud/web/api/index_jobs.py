"""The REST resource of index jobs."""

from typing import Annotated, Final

from swallowtail.cloud.index.reindexing import Reindexing
from swallowtail.cloud.web.access import InOrganisation
from swallowtail.cloud.web.api.schemas import Body, Out, UidText
from swallowtail.cloud.web.roles import QUEUE_MANAGERS
from swallowtail.cloud.web.route import REFUSED, Route
from swallowtail.cloud.web.use_cases import provided

Administration = Annotated[Reindexing, provided(Reindexing)]


class IndexCountsOut(Out):
    """State of the index: jobs that wait, and instances whose data set could not be indexed."""

    waiting: int
    quarantined: int


class Reindex(Body):
    """A scope to index again: one study, or everything."""

    study: UidText | None = None


class Queued(Out):
    """The number of instances that were queued."""

    queued: int


async def get_index_jobs(caller: InOrganisation, jobs: Administration) -> IndexCountsOut:
    """Get the state of the index.

    Returns how many index jobs wait and how many instances are quarantined.
    """
    return IndexCountsOut.model_validate(await jobs.counts(caller))


async def reindex(caller: InOrganisation, jobs: Administration, body: Reindex) -> Queued:
    """Index again.

    Queues an index job for every instance of the organisation, or of one study. What is indexed
    stays visible meanwhile.
    """
    return Queued(queued=await jobs.queue(caller, body.study))


ROUTES: Final = (
    Route(
        "GET",
        "/index-jobs",
        get_index_jobs,
        QUEUE_MANAGERS,
        REFUSED,
        "imaging",
        use_case=Reindexing.counts,
    ),
    Route(
        "POST",
        "/index-jobs",
        reindex,
        QUEUE_MANAGERS,
        REFUSED,
        "imaging",
        202,
        use_case=Reindexing.queue,
        audit="index.rebuild",
    ),
)
