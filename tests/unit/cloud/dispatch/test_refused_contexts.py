"""A destination that refuses presentation contexts.

What can be transcoded is, the rest ends at once and holds up nothing.
"""

from collections.abc import AsyncIterator
from typing import Self

import msgspec
import pytest

from swallowtail.calls.config import Transcoding
from swallowtail.calls.deliver import (
    About,
    DeliverAnswer,
    DeliverRequest,
    DeliveryPhase,
    NotDelivered,
)
from swallowtail.cloud.model.delivery import DeliverySearch, DeliveryState
from swallowtail.cloud.model.transcoding import IMPLICIT, NotTranscoded
from swallowtail.runtime.tasks import Tasks
from tests.conformance.invented import EVENT, EXPLICIT, NORTH
from tests.unit.cloud.dispatch.stage import DESTINATION, SUCCESS, Stage, delivered

UIDS = ("1.1", "1.2", "1.3", "1.4")
DONE, DEAD, WAITING = DeliveryState.DELIVERED, DeliveryState.DEAD_LETTER, DeliveryState.PENDING
NO_CONTEXT = NotDelivered(
    about=About.INSTANCE,
    phase=DeliveryPhase.CONTEXT,
    detail="takes implicit only",
    accepted=(IMPLICIT,),
    permanent=True,
)


class Made:
    """A transcoded data set."""

    transfer_syntax, length = IMPLICIT, 10

    async def pieces(self) -> AsyncIterator[bytes]:
        yield b"transcoded"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return


class PlayedTranscoder:
    def __init__(self, made: Made | NotTranscoded) -> None:
        self.made, self.asked = made, 0

    async def transcode(self, *_: object) -> Made | NotTranscoded:
        self.asked += 1
        return self.made


def _picky(request: DeliverRequest, body: bytes) -> DeliverAnswer:
    return delivered(body) if request.transfer_syntax == IMPLICIT else NO_CONTEXT


async def test_a_refused_syntax_is_transcoded_and_from_then_on_at_once(tasks: Tasks) -> None:
    stage = Stage(PlayedTranscoder(Made()))  # type: ignore[arg-type]
    await stage.populate()
    stage.link.answer = _picky
    await stage.queue(*UIDS)
    stage.serve(tasks)
    await stage.until(lambda: _all_done(stage))
    assert [body for _, body in stage.link.got] == [b"transcoded"] * 4
    assert stage.link.uids == list(UIDS)
    assert {one.sent_format for one in await stage.deliveries()} == {IMPLICIT}
    assert sum(request.transfer_syntax == EXPLICIT for request in stage.link.opened) <= 2
    assert {one.refusals for one in await stage.deliveries()} == {0}


async def _all_done(stage: Stage) -> bool:
    stage.pass_time(2)
    return await stage.states() == [DONE] * 4


@pytest.mark.parametrize(
    ("transcoder", "allowed"),
    [
        (None, Transcoding.LOSSLESS),
        (PlayedTranscoder(Made()), Transcoding.NEVER),
        (PlayedTranscoder(NotTranscoded(reason="it is video")), Transcoding.LOSSLESS),
    ],
)
async def test_where_nothing_can_be_transcoded_the_instance_fails_with_the_reason(
    tasks: Tasks, transcoder: PlayedTranscoder | None, allowed: Transcoding
) -> None:
    stage = Stage(transcoder)  # type: ignore[arg-type]
    await stage.populate(msgspec.structs.replace(DESTINATION, transcoding=allowed, attempts=5))
    stage.link.answer = _picky  # would take what was transcoded all the same
    await stage.queue("1.1")
    stage.serve(tasks)
    await stage.settled(DEAD)
    (one,) = await stage.deliveries()
    assert (one.phase, one.tries, one.refusals) == (DeliveryPhase.CONTEXT, 1, 1)
    tried = transcoder is not None and allowed is Transcoding.LOSSLESS
    assert ("it is video" if tried else "takes implicit only") in one.detail


async def test_what_could_not_be_transcoded_is_sent_as_it_is_once_the_destination_takes_it(
    tasks: Tasks,
) -> None:
    stage = Stage(PlayedTranscoder(NotTranscoded(reason="it is video")))  # type: ignore[arg-type]
    await stage.populate()
    stage.link.answer = _picky
    await stage.queue("1.1")
    stage.serve(tasks)
    await stage.settled(DEAD)
    stage.link.answer = SUCCESS
    await stage.records.deliveries.act(
        NORTH, DeliverySearch(), (), WAITING, reason="", now=stage.now, event=EVENT
    )
    await stage.settled(DONE)
    assert {one.sent_format for one in await stage.deliveries()} == {EXPLICIT}


@pytest.mark.parametrize("refused", ["1.1", "1.2", "1.3"])
@pytest.mark.parametrize("outstanding", [1, 4])
async def test_a_refused_instance_holds_up_none_of_those_behind_it(
    tasks: Tasks, refused: str, outstanding: int
) -> None:
    stage = Stage()
    await stage.populate(msgspec.structs.replace(DESTINATION, attempts=5, outstanding=outstanding))
    stage.link.answer = lambda request, body: (
        NO_CONTEXT if request.sop_instance == refused else delivered(body)
    )
    await stage.queue(*UIDS)
    stage.serve(tasks)
    states = [DEAD if uid == refused else DONE for uid in UIDS]
    await stage.settled(*states)  # without any time passing
    assert stage.link.uids == [uid for uid in UIDS if uid != refused]
    assert [one.tries for one in await stage.deliveries() if one.state is DEAD] == [1]


@pytest.mark.parametrize(("permanent", "state"), [(True, DEAD), (False, WAITING)])
async def test_what_cannot_be_transcoded_waits_where_the_refusal_may_pass(
    tasks: Tasks, permanent: bool, state: DeliveryState
) -> None:
    stage = Stage(PlayedTranscoder(NotTranscoded(reason="it is video")))  # type: ignore[arg-type]
    await stage.populate(msgspec.structs.replace(DESTINATION, attempts=5))
    stage.link.answer = lambda request, body: msgspec.structs.replace(
        NO_CONTEXT, permanent=permanent
    )
    await stage.queue("1.1")
    stage.serve(tasks)
    await stage.until(lambda: _refused_once(stage))
    (one,) = await stage.deliveries()
    assert one.state is state
    assert (one.refusals, one.phase) == (1, DeliveryPhase.CONTEXT)


async def _refused_once(stage: Stage) -> bool:
    (one,) = await stage.deliveries()
    return one.refusals == 1
