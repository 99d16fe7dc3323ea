"""Into receivers that we did not write.

DCMTK's storescp, pynetdicom and Orthanc, byte by byte, refusals included.
"""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt

from bench.peers import Orthanc
from swallowtail.calls.codec import encode
from swallowtail.calls.config import Transcoding
from swallowtail.calls.deliver import About, Delivered, DeliveryPhase
from swallowtail.calls.diagnostics import CHECK, CheckRequest, read_checked
from swallowtail.sim.dicom_files import data_set_of
from swallowtail.sim.processes import Program, free_port
from swallowtail.wire.channel import Message
from swallowtail.wire.frames import ChannelPriority
from tests.interop.corpus import Object, made, renewed, sources
from tests.interop.outbound import Outbound, destination, run
from tests.unit.link.archive import BIG, CT, deliver, failed

US = "1.2.840.10008.5.1.4.1.1.6.1"
EXPLICIT, IMPLICIT, JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.70"
ABORTED = {"image_dfl.dcm", "rtplan_truncated.dcm"}
"""What storescp cannot parse it answers with an A-ABORT."""
MINIMAL = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100" + b"\x08\x00\x18\x00UI\x08\x001.2.3.1\x00"


@contextmanager
def storescp(folder: Path, *options: str) -> Iterator[tuple[int, Path]]:
    """Run DCMTK's storescp; gives its port and the folder that it writes to."""
    port, received = free_port(), folder / "received"
    received.mkdir()
    argv = ["/usr/bin/storescp", *options, "-od", received, str(port)]
    with Program("storescp", argv, folder=folder) as program:
        program.wait_for_port(port)
        yield port, received


async def send(stage: Outbound, number: int, item: Object) -> Any:
    """Deliver one object of the corpus."""
    named = {
        "sop_class": item.sop_class,
        "sop_instance": item.sop_instance,
        "transfer_syntax": item.transfer_syntax,
    }
    fields = {name: str(uid) for name, uid in named.items()}
    return await deliver(stage, number, item.data_set(), **fields)


async def check(stage: Outbound) -> list[tuple[str, bool]]:
    """Give the steps of a check."""
    channel = await stage.cloud.sessions[-1].open(
        CHECK, encode(CheckRequest(destination="pacs1")), ChannelPriority.INTERACTIVE, fin=True
    )
    event = await channel.receive()
    assert isinstance(event, Message)
    return [(step.name, step.ok) for step in read_checked(event.body).steps]


WELL = [(name, True) for name in ("resolve", "policy", "connect", "associate", "echo")]


@pytest.mark.parametrize("pdu", ["4096", "16384", "131072"])
def test_storescp_gets_every_class_and_syntax_byte_by_byte(tmp_path: Path, pdu: str) -> None:
    corpus = [*(renewed(path, tmp_path) for path in sources()), *made(tmp_path)]

    with storescp(tmp_path, "+B", "+xa", "-pm", "+uf", "-pdu", pdu) as (port, received):

        async def scene(stage: Outbound) -> None:
            taken = 0
            for number, item in enumerate(corpus, 1):
                before = set(received.iterdir())
                answer = await send(stage, number, item)
                if item.name in ABORTED:
                    failed(
                        answer, About.DESTINATION, DeliveryPhase.RESPONSE, "aborted the association"
                    )
                    continue
                if not isinstance(answer, Delivered):  # a syntax that this DCMTK does not know
                    failed(answer, About.INSTANCE, DeliveryPhase.CONTEXT)
                    continue
                (path,) = set(received.iterdir()) - before
                assert data_set_of(path.read_bytes()) == item.data_set(), item.name
                taken += 1
            assert taken > 0.9 * len(corpus)

        run(scene, destination(port, transcoding=Transcoding.NEVER))


def test_storescp_with_one_syntax_alone_refuses_the_others_and_we_say_which(tmp_path: Path) -> None:
    with storescp(tmp_path, "+xi") as (port, received):

        async def scene(stage: Outbound) -> None:
            refused = failed(
                await deliver(stage, 1, sop_class=US, transfer_syntax=JPEG),
                About.INSTANCE,
                DeliveryPhase.CONTEXT,
            )
            assert refused.accepted == (IMPLICIT,)
            body = (
                b"\x08\x00\x16\x00\x1c\x00\x00\x00"
                + US.encode()
                + b"\0"
                + b"\x08\x00\x18\x00\x08\x00\x00\x001.2.3.2\0"
            )
            assert isinstance(
                await deliver(stage, 2, body, sop_class=US, transfer_syntax=IMPLICIT), Delivered
            )
            failed(
                await deliver(stage, 3, sop_class="1.2.3.4"),
                About.INSTANCE,
                DeliveryPhase.CONTEXT,
                "does not accept 1.2.3.4",
            )
            assert len([*received.iterdir()]) == 1

        run(scene, destination(port))


@pytest.mark.parametrize(
    ("option", "phase"),
    [("--refuse", DeliveryPhase.ASSOCIATE), ("--abort-after", DeliveryPhase.RESPONSE)],
)
def test_storescp_that_refuses_or_aborts(tmp_path: Path, option: str, phase: DeliveryPhase) -> None:
    with storescp(tmp_path, option) as (port, _):

        async def scene(stage: Outbound) -> None:
            failed(await deliver(stage, 1, MINIMAL), About.DESTINATION, phase)

        run(scene, destination(port))


def test_storescp_that_dies_and_returns(tmp_path: Path) -> None:
    port, received = free_port(), tmp_path / "received"
    received.mkdir()
    argv = ["/usr/bin/storescp", "+B", "-od", received, str(port)]

    async def scene(stage: Outbound) -> None:
        failed(await deliver(stage, 1, MINIMAL), About.DESTINATION, DeliveryPhase.CONNECT)
        with Program("storescp", argv, folder=tmp_path) as program:
            program.wait_for_port(port)
            assert isinstance(await deliver(stage, 1, MINIMAL), Delivered)
            program.kill()
        failed(await deliver(stage, 2, MINIMAL), About.DESTINATION, DeliveryPhase.CONNECT)
        with Program("storescp", argv, folder=tmp_path) as program:
            program.wait_for_port(port)
            assert isinstance(await deliver(stage, 2, MINIMAL), Delivered)
            assert await check(stage) == WELL  # this storescp serves one association at a time
            assert isinstance(await deliver(stage, 3, MINIMAL), Delivered)

    run(scene, destination(port))


@contextmanager
def pynetdicom(
    status: int = 0, *, max_pdu: int = 16_382, called: str = ""
) -> Iterator[tuple[int, dict[str, bytes]]]:
    """Run a pynetdicom SCP in threads; gives its port and what it received."""
    received: dict[str, bytes] = {}

    def store(event: evt.Event) -> int:
        received[event.request.AffectedSOPInstanceUID] = event.encoded_dataset(include_meta=False)
        return status

    entity = AE(ae_title="PYNETDICOM")
    entity.maximum_pdu_size = max_pdu
    entity.require_called_aet = bool(called)
    entity.add_supported_context("1.2.840.10008.1.1")
    for sop_class in (CT, US):
        entity.add_supported_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    port = free_port()
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]
    )
    try:
        yield port, received
    finally:
        server.shutdown()


@pytest.mark.parametrize("max_pdu", [0, 4096, 16_382, 1_000_000])
@pytest.mark.parametrize("size", [1, 65_529, len(BIG)])
def test_pynetdicom_gets_the_bytes_whatever_its_pdu_length(max_pdu: int, size: int) -> None:
    with pynetdicom(max_pdu=max_pdu) as (port, received):

        async def scene(stage: Outbound) -> None:
            for number in (1, 2):
                assert isinstance(await deliver(stage, number, BIG[:size]), Delivered)
            assert received == {"1.2.3.1": BIG[:size], "1.2.3.2": BIG[:size]}
            assert await check(stage) == WELL

        run(scene, destination(port))


@pytest.mark.parametrize(
    ("status", "about"),
    [
        (0xB000, None),
        (0xB006, None),
        (0xA700, About.DESTINATION),
        (0xA900, About.INSTANCE),
        (0xC001, About.INSTANCE),
    ],
)
def test_pynetdicoms_status_decides(status: int, about: About | None) -> None:
    with pynetdicom(status) as (port, _):

        async def scene(stage: Outbound) -> None:
            answer = await deliver(stage, 1, BIG)
            assert answer.status == status
            assert getattr(answer, "about", None) is about

        run(scene, destination(port))


def test_pynetdicom_that_knows_another_title_rejects() -> None:
    with pynetdicom(called="PYNETDICOM") as (port, _):

        async def scene(stage: Outbound) -> None:
            words = (
                "called AE title not recognised; check the AE title configured for it, now WRONG"
            )
            failed(await deliver(stage, 1), About.DESTINATION, DeliveryPhase.ASSOCIATE, words)
            assert await check(stage) == [*WELL[:3], ("associate", False)]

        run(scene, destination(port, "WRONG"))


def test_orthanc_has_every_instance(tmp_path: Path) -> None:
    corpus = [renewed(path, tmp_path) for path in sources()][:12]
    orthanc = Orthanc(tmp_path / "orthanc", name="orthanc")
    try:

        async def scene(stage: Outbound) -> None:
            assert await check(stage) == WELL
            stored = []
            for number, item in enumerate(corpus, 1):
                if isinstance(await send(stage, number, item), Delivered):
                    stored.append(item)
            assert len(stored) >= 8
            assert orthanc.count() == len(stored)
            for item in stored:
                (found,) = lookup(item.sop_instance)
                theirs = dcmread(
                    BytesIO(fetch(f"/instances/{found['ID']}/file"))
                )  # written anew: group lengths differ
                assert theirs.file_meta.TransferSyntaxUID == item.transfer_syntax
                assert theirs.get("PixelData") == dcmread(item.path).get("PixelData"), item.name

        def fetch(path: str, data: bytes | None = None) -> bytes:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{orthanc.http}{path}", data, timeout=30
            ) as answer:
                return answer.read()

        def lookup(uid: str) -> list[dict[str, str]]:
            return [
                one
                for one in json.loads(fetch("/tools/lookup", uid.encode()))
                if one["Type"] == "Instance"
            ]

        run(scene, destination(orthanc.port, "ORTHANC"))
    finally:
        orthanc.program.stop()
