"""From stored to found: the real use cases on the twins, with the parser inline."""

import asyncio
import contextlib
import io
import zlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from swallowtail.calls.store import (
    Committed,
    StoreRequest,
)
from swallowtail.calls.transfer import TransferEnd
from swallowtail.cloud.bus.in_process import InProcessBus
from swallowtail.cloud.index.indexer import LEASE, TOPIC, Indexer
from swallowtail.cloud.index.parse import parse
from swallowtail.cloud.ingest.store_instance import Ingest
from swallowtail.cloud.model.imaging import IndexState, InstanceSearch, StudySearch
from swallowtail.cloud.model.indexing import Indexed, IndexJob, IndexOutcome
from tests.conformance.invented import EVENT, NORTH, NOW
from tests.doubles.inline_parser import InlineParser
from tests.store_tally import StoreTally
from tests.unit.cloud.index.data_sets import stored
from tests.unit.cloud.ingest.test_store_instance import REQUEST, Cloud, cloud

__all__ = ["cloud"]


class Node:
    """A Cloud with its index."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.bus, self.now = cloud, InProcessBus(), NOW
        self.ingest = Ingest(
            cloud.records.instances,
            cloud.blobs,
            clock=lambda: NOW,
            meter=StoreTally(),
            on_stored=lambda: self.bus.publish(TOPIC),
        )
        self.indexer = Indexer(
            cloud.records.index_jobs,
            InlineParser(cloud.blobs),
            self.bus,
            clock=lambda: self.now,
            quiet=0.0,
        )

    async def store(self, name: str) -> None:
        job, content = stored(name)
        request = StoreRequest(
            **{field: getattr(REQUEST, field) for field in REQUEST.__struct_fields__}
            | {
                "sop_class": job.sop_class,
                "sop_instance": job.identity.sop_instance,
                "transfer_syntax": job.identity.transfer_syntax,
            }
        )

        async def body() -> AsyncIterator[memoryview | TransferEnd]:
            yield memoryview(content)
            yield TransferEnd(length=len(content), crc32=zlib.crc32(content))

        assert isinstance(await self.ingest.store(NORTH, "ward", 1, request, body()), Committed)

    async def studies(self) -> list[str]:
        page = await self.cloud.records.instances.studies(NORTH, StudySearch())
        return sorted(study.patient_name for study in page.items)


@pytest.fixture
async def node(cloud: Cloud) -> Node:
    return Node(cloud)


async def test_what_is_stored_is_found(node: Node) -> None:
    for name in ("examples_ybr_color.dcm", "CT_small.dcm", "MR_truncated.dcm"):
        await node.store(name)
    assert await node.indexer.step() == 3
    assert await node.indexer.step() == 0
    assert await node.studies() == ["CompressedSamples^CT1", "PLA"]
    quarantined = await node.cloud.records.instances.instances(
        NORTH, InstanceSearch(state=IndexState.QUARANTINED)
    )
    assert len(quarantined.items) == len((await node.cloud.records.alarms.alarms(NORTH)).items) == 1


async def indexed_by(node: Node, running: "asyncio.Task[None]") -> None:
    """Wait until nothing is left to index, then end the indexer."""
    async with asyncio.timeout(10):
        while (await node.cloud.records.inventory.index(NORTH)).waiting:  # noqa: ASYNC110
            await asyncio.sleep(0)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_store_wakes_the_index(node: Node) -> None:
    running = asyncio.ensure_future(node.indexer.run())  # noqa: TID251 - no owner in a test
    await asyncio.sleep(0)
    await node.store("CT_small.dcm")
    await indexed_by(node, running)
    assert await node.studies() == ["CompressedSamples^CT1"]
    assert node.bus._topics == {}


async def test_a_node_that_is_alone_takes_over_what_its_predecessor_had_claimed(node: Node) -> None:
    await node.store("CT_small.dcm")
    await node.cloud.records.index_jobs.claim(9, now=NOW, until=NOW + LEASE)
    # no owner in a test
    await indexed_by(node, asyncio.ensure_future(node.indexer.run(alone=True)))  # noqa: TID251
    assert await node.studies() == ["CompressedSamples^CT1"]


async def test_a_claim_that_was_never_settled_is_taken_again_after_its_lease(node: Node) -> None:
    await node.store("CT_small.dcm")
    await node.cloud.records.index_jobs.claim(9, now=NOW, until=NOW + LEASE)
    assert await node.indexer.step() == 0
    node.now += LEASE
    assert await node.indexer.step() == 1


async def test_the_index_waits_out_a_storage_failure(node: Node) -> None:
    await node.store("CT_small.dcm")
    node.cloud.rows.unavailable = True
    assert await node.indexer._step_safely() == 0
    node.cloud.rows.unavailable = False
    assert await node.indexer._step_safely() == 1


async def test_an_outcome_that_the_store_cannot_hold_stops_nobody(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CT_small.dcm", "MR_small.dcm"):
        await node.store(name)
    whole = node.indexer._parser.parse

    async def with_a_huge_number(job: IndexJob) -> IndexOutcome:
        outcome = await whole(job)
        assert isinstance(outcome, Indexed)
        return (
            msgspec.structs.replace(outcome, number=2**70)
            if outcome.series.modality == "CT"
            else outcome
        )

    monkeypatch.setattr(node.indexer._parser, "parse", with_a_huge_number)
    await node.indexer.step()
    assert await node.studies() == ["CompressedSamples^MR1"]
    (refused,) = (
        await node.cloud.records.instances.instances(
            NORTH, InstanceSearch(state=IndexState.QUARANTINED)
        )
    ).items
    assert "OverflowError" in refused.problem
    assert (await node.cloud.records.inventory.index(NORTH)).waiting == 0


async def test_an_index_that_was_wrong_is_rebuilt(node: Node) -> None:
    class Confused:
        """A parser with a bug."""

        async def parse(self, job: IndexJob) -> IndexOutcome:
            _, content = stored("MR_small.dcm")
            wrong, _ = stored("MR_small.dcm")
            outcome = parse(wrong, io.BytesIO(content))
            return type(outcome)(
                **{field: getattr(outcome, field) for field in outcome.__struct_fields__}
                | {"instance": job.instance}
            )

    await node.store("CT_small.dcm")
    wrong = Indexer(node.cloud.records.index_jobs, Confused(), node.bus, clock=lambda: NOW)
    await wrong.step()
    assert await node.studies() == ["CompressedSamples^MR1"]
    await node.cloud.records.index_jobs.rebuild(NORTH, now=NOW, event=EVENT)
    await node.indexer.step()
    assert await node.studies() == ["CompressedSamples^CT1"]
