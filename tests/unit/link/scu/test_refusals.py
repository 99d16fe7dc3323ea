"""A destination that refuses presentation contexts.

Whose failure it is, whether it may pass, and what to do about it.
"""

import msgspec
import pytest

from swallowtail.calls.config import Transcoding
from swallowtail.calls.deliver import About, Delivered, DeliveryPhase, NotDelivered
from swallowtail.dicom.negotiation import AcceptorPolicy
from swallowtail.dicom.pdu import ContextResult
from tests.unit.link.archive import (
    DESTINATION,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    US,
    Archive,
    deliver,
    failed,
    to,
)
from tests.unit.link.stage import Stage, play


def test_a_refused_syntax_is_the_instances_failure_and_names_what_is_taken():
    async def scene(stage: Stage) -> None:
        policy = AcceptorPolicy(any_storage=True, transfer_syntaxes=frozenset({EXPLICIT, IMPLICIT}))
        archive = await Archive(stage, policy=policy).open()
        answer = await deliver(stage, 1, transfer_syntax=JPEG)
        refused = failed(answer, About.INSTANCE, DeliveryPhase.CONTEXT, "JPEG Lossless")
        assert refused.accepted == (EXPLICIT, IMPLICIT)
        assert isinstance(await deliver(stage, 2), Delivered)
        assert len(archive.requests) == 1

    play(scene, configuration=to())


def test_a_refused_syntax_is_named_where_no_other_was_proposed():
    async def scene(stage: Stage) -> None:
        policy = AcceptorPolicy(any_storage=True, transfer_syntaxes=frozenset({EXPLICIT, IMPLICIT}))
        await Archive(stage, policy=policy).open()
        words = "does not accept CT Image Storage in JPEG Lossless"
        refused = failed(
            await deliver(stage, 1, transfer_syntax=JPEG),
            About.INSTANCE,
            DeliveryPhase.CONTEXT,
            words,
        )
        assert refused.accepted == ()

    play(
        scene, configuration=to(msgspec.structs.replace(DESTINATION, transcoding=Transcoding.NEVER))
    )


def test_a_refused_sop_class_is_the_instances_failure():
    async def scene(stage: Stage) -> None:
        await Archive(stage, policy=AcceptorPolicy(sop_classes=frozenset({US}))).open()
        refused = failed(
            await deliver(stage, 1),
            About.INSTANCE,
            DeliveryPhase.CONTEXT,
            "does not accept CT Image Storage; enable",
        )
        assert refused.accepted == ()

    play(scene, configuration=to())


@pytest.mark.parametrize(
    ("result", "permanent", "words"),
    [
        (ContextResult.USER_REJECTION, False, "gives no cause"),
        (ContextResult.NO_REASON, False, "gives no cause"),
        (ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, True, "enable this SOP class there"),
        (ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED, True, "enable the syntax there"),
    ],
)
def test_a_refusal_is_permanent_when_the_destination_names_what_it_does_not_support(
    result, permanent, words
):
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage, refuses=result).open()
        refused = failed(await deliver(stage, 1), About.INSTANCE, DeliveryPhase.CONTEXT, words)
        assert refused.permanent is permanent
        assert isinstance(await deliver(stage, 2, attempt=1), NotDelivered)
        assert len(archive.requests) == 1, "another instance meets the same refusal"
        archive.refuses = None
        assert isinstance(await deliver(stage, 1, attempt=2), Delivered), "a retry asks anew"
        assert len(archive.requests) == 2

    play(scene, configuration=to())


@pytest.mark.parametrize(
    ("transcoding", "words"),
    [(Transcoding.NEVER, "allow transcoding"), (Transcoding.LOSSLESS, "send it elsewhere")],
)
def test_the_remedy_for_a_refused_syntax_fits_the_destinations_settings(transcoding, words):
    async def scene(stage: Stage) -> None:
        policy = AcceptorPolicy(any_storage=True, transfer_syntaxes=frozenset({IMPLICIT}))
        await Archive(stage, policy=policy).open()
        answer = failed(await deliver(stage, 1), About.INSTANCE, DeliveryPhase.CONTEXT, words)
        assert ("transcoding" in answer.detail) == (transcoding is Transcoding.NEVER)

    play(scene, configuration=to(msgspec.structs.replace(DESTINATION, transcoding=transcoding)))
