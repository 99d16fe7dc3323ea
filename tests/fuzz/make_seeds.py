"""Writes the seeds of every fuzz target, small valid inputs made with our own codecs.

`python -m tests.fuzz.make_seeds`.
"""

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from swallowtail.calls import config, diagnostics, report, store, transfer
from swallowtail.calls.codec import encode
from swallowtail.cloud.data_set.elements import BIG_ENDIAN, IMPLICIT, LONG
from swallowtail.dicom import commands, pdu, uids
from swallowtail.dicom.negotiation import answer
from swallowtail.dicom.pdu_codec import HEADER_LENGTH, encode_pdu
from swallowtail.wire.control import (
    Budget,
    Challenge,
    Control,
    Echo,
    Echoed,
    Goodbye,
    GoodbyeReason,
    Refuse,
    RefuseReason,
    control_frame,
)
from swallowtail.wire.frames import (
    HEADER,
    ChannelPriority,
    Credit,
    FrameType,
    Opening,
    credit_frame,
    frame,
    opening_frame,
    reset_frame,
)
from swallowtail.wire.reasons import ResetReason
from tests.dicom.pair import CT, CT_CONTEXT, ECHO_CONTEXT, POLICY, REQUEST
from tests.fuzz import fuzz_call
from tests.fuzz.fuzz_association import ESTABLISHED, IN_PLACE, PATIENT, RELEASING, REQUESTOR
from tests.fuzz.fuzz_data_set import DEFLATED, EXPLICIT, JPEG, SOP_CLASS, SOP_INSTANCE, SYNTAXES
from tests.fuzz.fuzz_session import CLOUD, HELLO, HELLO_ACCEPTED, PROVED, STEP, WELCOME

SEEDS: Final = Path(__file__).parent / "seeds"

USER = pdu.UserInformation(
    window=pdu.AsyncOperationsWindow(2, 2),
    roles=(pdu.RoleSelection(CT, scu=True, scp=True),),
    extended=(pdu.ExtendedNegotiation(CT, b"\1\0"),),
    common_extended=(pdu.CommonExtendedNegotiation(CT, "1.2.3", ("1.2.4",)),),
    identity=pdu.UserIdentity(2, response_requested=True, primary=b"heron", secondary=b"reed"),
)
FULL_REQUEST = pdu.AssociateRQ("SWALLOWTAIL", "HERON", REQUEST.contexts, USER)
PDUS: dict[str, pdu.Pdu] = {
    "request": FULL_REQUEST,
    "accept": answer(FULL_REQUEST, POLICY),
    "reject": pdu.AssociateRJ(2, 3, 1),
    "release-request": pdu.ReleaseRQ(),
    "release-response": pdu.ReleaseRP(),
    "abort": pdu.Abort(),
}
ECHO = commands.echo_request(1, uids.VERIFICATION)
STORE = commands.store_request(2, CT, "1.2.3.4", move_originator=("HERON", 7))
COMMANDS = {
    "echo": ECHO,
    "echo-response": commands.response_to(ECHO, 0),
    "store": STORE,
    "store-response": commands.response_to(
        STORE, 0xA900, comment="heron", elements={commands.Element.OFFENDING_ELEMENT: (0x00080018,)}
    ),
    "find": commands.request(
        commands.CommandField.C_FIND_RQ,
        3,
        data_set=True,
        elements={commands.Element.AFFECTED_SOP_CLASS: "1.2"},
    ),
    "cancel": commands.Command({0x0100: 0x0FFF, 0x0120: 3, 0x0800: 0x0101}),
    "unknown-element": commands.Command(
        {0x0100: 0x0030, 0x0110: 1, 0x0800: 0x0101, 0x5010: b"heron!"}
    ),
}


def _data_tf(*pdvs: tuple[int, int, bytes]) -> bytes:
    body = b"".join(
        struct.pack(">IBB", len(data) + 2, context, control) + data
        for context, control, data in pdvs
    )
    return struct.pack(">BxI", 4, len(body)) + body


def _conversations() -> Mapping[str, bytes]:
    echo = _data_tf((ECHO_CONTEXT, 3, commands.encode(ECHO)))
    stored = _data_tf(
        (CT_CONTEXT, 3, commands.encode(STORE)), (CT_CONTEXT, 0, b"heron" * 20)
    ) + _data_tf((CT_CONTEXT, 2, b"reed"))
    request, release, answered = (
        encode_pdu(PDUS[name]) for name in ("request", "release-request", "release-response")
    )
    tiny = [(CT_CONTEXT, 0, b"x")] * 120
    late = _data_tf((CT_CONTEXT, 3, commands.encode(STORE)), (CT_CONTEXT, 0, b"heron"))
    return {
        "acceptor": bytes((0, 1)) + request + echo + stored + release,
        "acceptor-in-place": bytes((IN_PLACE, 20)) + request + stored + release,
        "acceptor-established": bytes((ESTABLISHED, 9)) + stored + echo + encode_pdu(pdu.Abort()),
        "acceptor-tiny": (
            bytes((ESTABLISHED, 200)) + _data_tf((CT_CONTEXT, 3, commands.encode(STORE)), *tiny)
        ),
        "acceptor-slow": bytes((ESTABLISHED | PATIENT, 5)) + late,
        "acceptor-collision": bytes((ESTABLISHED | RELEASING, 3)) + echo + release + answered,
        "requestor": bytes((REQUESTOR, 30)) + encode_pdu(PDUS["accept"]) + echo + release,
        "requestor-rejected": bytes((REQUESTOR, 2)) + encode_pdu(PDUS["reject"]),
        "requestor-collision": (
            bytes((REQUESTOR | ESTABLISHED | RELEASING | IN_PLACE, 4)) + stored + release + answered
        ),
        "requestor-waits": bytes((REQUESTOR | PATIENT, 4)) + encode_pdu(PDUS["accept"])[:70],
    }


def _controls() -> dict[str, Control]:
    return {
        "challenge": Challenge(versions=(1, 1), nonce=bytes(32)),
        "hello": HELLO,
        "welcome": WELCOME,
        "refuse": Refuse(reason=RefuseReason.BUSY, detail="heron", retry_after=3.0),
        "echo": Echo(id=1),
        "echoed": Echoed(id=1),
        "budget": Budget(bytes=1 << 20),
        "goodbye": Goodbye(reason=GoodbyeReason.DRAINING),
    }


def _frames() -> Mapping[str, bytes]:
    opening = Opening(call="store", priority=ChannelPriority.BULK, credit=65_536, body=b"heron")
    payloads = {
        **{f"control-{name}": control_frame(message) for name, message in _controls().items()},
        "open": opening_frame(1, opening, fin=False),
        "credit": credit_frame(1, Credit(10, 20)),
        "reset": reset_frame(1, ResetReason.LIMIT, "heron"),
    }
    return {name: raw[:1] + raw[HEADER.size :] for name, raw in payloads.items()}


def _step(raw: bytes) -> bytes:
    return STEP.pack(0, len(raw)) + raw


def _steps(*steps: tuple[int, int] | bytes) -> bytes:
    return b"".join(_step(step) if isinstance(step, bytes) else STEP.pack(*step) for step in steps)


WAIT, OPENED, WRITE, READ, MESSAGE, FINISH, SEND, PING = range(8, 16)  # steps of a session's seed


def _served(first: int) -> bytes:
    """Return the steps of a channel that the peer opens and that is read."""
    transfer = Opening(call="store", priority=ChannelPriority.BULK, credit=65_536, body=b"heron")
    return _steps(
        opening_frame(first, transfer, fin=False),
        frame(FrameType.DATA, first, b"heron" * 9),
        (READ, 1),
        frame(FrameType.MESSAGE, first, b"end", fin=True),
        (READ, 1),
        (MESSAGE, 3),
        (SEND, 9),
    )


def _uses(own: int) -> bytes:
    """Return the steps of a channel that we open and that the peer resets."""
    return _steps(
        (OPENED, 101),
        (SEND, 3),
        (WRITE, 900),
        credit_frame(own, Credit(0, 200_000)),
        (WRITE, 5_000),
        (SEND, 5),
        (PING, 1),
        control_frame(_controls()["echoed"]),
        reset_frame(own, ResetReason.REFUSED, "no"),
    )


def _sessions() -> Mapping[str, bytes]:
    controls = {name: control_frame(one) for name, one in _controls().items()}
    asked = Opening(call="ping", priority=ChannelPriority.INTERACTIVE, credit=100)

    return {
        "cloud-hello": bytes((CLOUD | PROVED,)) + _steps(controls["hello"]) + _served(1),
        "cloud-refuses": bytes((CLOUD,)) + _steps((SEND, 1), controls["hello"], (SEND, 2)),
        "cloud-serves": (bytes((CLOUD | HELLO_ACCEPTED | PROVED,)) + _served(1) + _served(3)),
        "cloud-opens": (
            bytes((CLOUD | HELLO_ACCEPTED | PROVED,))
            + _uses(2)
            + _steps(controls["goodbye"], (FINISH, 1))
        ),
        "link-hello": bytes((0,)) + _steps(controls["challenge"], controls["welcome"]) + _uses(1),
        "link-refused": bytes((0,)) + _steps(controls["challenge"], controls["refuse"]),
        "link-serves": (
            bytes((HELLO_ACCEPTED,))
            + _served(2)
            + _steps(opening_frame(4, asked, fin=True), (READ, 1), (MESSAGE, 5))
        ),
        "link-waits": (
            bytes((HELLO_ACCEPTED,))
            + _uses(1)
            + _steps((WAIT, 25_000), controls["echo"], (SEND, 4), (WAIT, 50_000))
        ),
        "link-leaves": (
            bytes((HELLO_ACCEPTED,))
            + _served(2)
            + _steps((PING, 3), (FINISH, 2), controls["goodbye"], (WAIT, 11_000))
        ),
    }


_ENDPOINT = config.EndpointState(name="main", state="listening", since=1.0, connections=2)
_POLICY = diagnostics.PolicyStatus(source="default policy", summary=("may connect to 10.0.0.0/8",))
_STORE = store.StoreRequest(
    listener="main",
    peer="10.1.2.3",
    calling_ae="HERON",
    called_ae="SWALLOWTAIL",
    association=bytes(16),
    sop_class=CT,
    sop_instance="1.2.3",
    transfer_syntax=uids.EXPLICIT_VR_LITTLE_ENDIAN,
)
_REPORT = report.ObservationReport(
    observations=(
        report.EndpointStates(version=1, endpoints=(_ENDPOINT,)),
        report.UnmatchedDevice(
            listener="main",
            address="10.1.2.3",
            calling_ae="HERON",
            called_ae="SWALLOWTAIL",
            reason="address",
            count=2,
            first=1.0,
            last=2.0,
        ),
        report.AssociationEnded(
            association=bytes(16),
            listener="main",
            address="10.1.2.3",
            calling_ae="HERON",
            called_ae="SWALLOWTAIL",
            outcome="released",
        ),
    )
)
_STATUS = diagnostics.LinkStatus(
    release="0.1.0",
    platform="linux",
    host="heron",
    uptime=1.0,
    configuration=1,
    endpoints=(_ENDPOINT,),
    policy=_POLICY,
    clock_offset=0.5,
    memory=1 << 20,
    connections=0,
)


def _calls() -> Mapping[str, bytes]:
    said: tuple[tuple[int, str, Any], ...] = (
        (
            0,
            "store",
            _STORE,
        ),
        (1, "end", transfer.TransferEnd(length=10, crc32=1)),
        (2, "committed", store.Committed(length=10, crc32=1, stored=store.Stored.NEW)),
        (2, "not-stored", store.NotStored(reason=store.NotStoredReason.FENCED)),
        (3, "configure", config.Configure(version=1, document=b"{}")),
        (4, "applied", config.Applied(version=1, endpoints=(_ENDPOINT,))),
        (
            4,
            "refused",
            config.ConfigurationRefused(
                version=1, problems=(config.Problem(field="$", message="heron"),)
            ),
        ),
        (
            5,
            "report",
            _REPORT,
        ),
        (6, "noted", report.Noted()),
        (7, "ping", diagnostics.Ping(payload=b"heron")),
        (8, "pong", diagnostics.Pong(payload=b"heron")),
        (9, "status-query", diagnostics.StatusQuery()),
        (
            10,
            "status",
            _STATUS,
        ),
    )
    assert len({index for index, *_ in said}) == len(fuzz_call.READERS), "every reader has a seed"
    return {name: bytes((index,)) + encode(message) for index, name, message in said}


def _documents() -> Mapping[str, bytes]:
    listener = config.DicomListener(
        name="main",
        ae_title="SWALLOWTAIL",
        port=11112,
        sop_classes=(CT,),
        transfer_syntaxes=(uids.EXPLICIT_VR_LITTLE_ENDIAN,),
    )
    device = config.Device(
        name="ct-1", ae_title="HERON", addresses=("10.1.2.3", "10.2.0.0/16"), listeners=("main",)
    )
    whole = config.Configuration(listeners=(listener,), devices=(device,))
    doubled = config.Configuration(listeners=(listener, listener), devices=(device, device))
    return {
        "empty": b"{}",
        "whole": config.dump(whole),
        "doubled": config.dump(doubled),
        "newline": msgspec.json.encode(
            {"listeners": [{"name": "a\n", "ae_title": "HERON\n", "port": 104}]}
        ),
        "many-problems": msgspec.json.encode(
            {"devices": [{"name": "a", "ae_title": "A", "addresses": ["x"] * 64}] * 30}
        ),
        "long-problem": msgspec.json.encode(
            {"devices": [{"name": "a", "ae_title": "A", "addresses": ["x" * 66_000]}]}
        ),
    }


def _policies() -> Mapping[str, bytes]:
    whole = {
        "outbound": (
            'new_targets_per_minute = 10\nallow = [{ network = "10.1.0.0/16", ports = [104,'
            ' "11112-11120"] }]'
        ),
        "listen": 'allow = [{ network = "10.1.2.3", ports = ["1024-65535"] }]',
    }
    special = (
        'allow = [{ network = "127.0.0.0/8" }, { network = "::1", ports = [1] }, { network ='
        ' "169.254.0.0/16" }]'
    )
    texts = {
        "empty": "",
        "whole": "".join(f"[{table}]\n{text}\n" for table, text in whole.items()),
        "special": f"[outbound]\n{special}\n",
        "long-number": "[outbound]\nnew_targets_per_minute = " + "9" * 4400,
        "long-port": (
            '[outbound]\nallow = [{ network = "10.0.0.0/8", ports = ["' + "9" * 4400 + '"] }]'
        ),
        "long-hex": (
            '[outbound]\nallow = [{ network = "10.0.0.0/8", ports = [0x' + "f" * 4000 + "] }]"
        ),
    }
    return {name: text.encode() for name, text in texts.items()}


def _element(tag: int, vr: bytes, value: bytes, syntax: str = EXPLICIT) -> bytes:
    group, number = tag >> 16, tag & 0xFFFF
    value += bytes(len(value) % 2)
    if syntax == IMPLICIT:
        return struct.pack("<HHI", group, number, len(value)) + value
    order = ">" if syntax == BIG_ENDIAN else "<"
    if vr in LONG:
        return struct.pack(f"{order}HH2sxxI", group, number, vr, len(value)) + value
    return struct.pack(f"{order}HH2sH", group, number, vr, len(value)) + value


def _data_set(syntax: str) -> bytes:
    word = struct.Struct(">H" if syntax == BIG_ENDIAN else "<H").pack
    item = _element(0x00080100, b"SH", b"HERON", syntax)
    order = ">" if syntax == BIG_ENDIAN else "<"
    parts = (
        (0x00080016, b"UI", SOP_CLASS.encode()),
        (0x00080018, b"UI", SOP_INSTANCE.encode()),
        (0x00080060, b"CS", b"US"),
        (0x00081140, b"SQ", struct.pack(f"{order}HHI", 0xFFFE, 0xE000, len(item)) + item),
        (0x00100010, b"PN", b"Heron^Ada"),
        (0x0020000D, b"UI", b"1.2.4"),
        (0x0020000E, b"UI", b"1.2.5"),
        (0x00200013, b"IS", b"3"),
        (0x00280002, b"US", word(1)),
        (0x00280008, b"IS", b"2"),
        (0x00280010, b"US", word(2)),
        (0x00280011, b"US", word(2)),
        (0x00280100, b"US", word(8)),
    )
    return b"".join(_element(tag, vr, value, syntax) for tag, vr, value in parts)


def _data_sets() -> Mapping[str, bytes]:
    undefined = struct.pack("<HH2sxxI", 0x0008, 0x1140, b"SQ", 0xFFFFFFFF)
    begin, end, close = (
        struct.pack("<HHI", 0xFFFE, number, size)
        for number, size in ((0xE000, 0xFFFFFFFF), (0xE00D, 0), (0xE0DD, 0))
    )
    fragments = [
        struct.pack("<HHI", 0xFFFE, 0xE000, len(one)) + one
        for one in (b"", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xd9")
    ]
    jpeg = struct.pack("<HH2sxxI", 0x7FE0, 0x0010, b"OB", 0xFFFFFFFF) + b"".join(fragments) + close
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    pixels = {
        syntax: _element(0x7FE00010, b"OB", bytes(8), syntax)
        for syntax in (IMPLICIT, EXPLICIT, BIG_ENDIAN)
    }
    whole = _data_set(EXPLICIT) + pixels[EXPLICIT]
    contents = {
        "implicit": (IMPLICIT, _data_set(IMPLICIT) + pixels[IMPLICIT]),
        "explicit": (EXPLICIT, whole),
        "big-endian": (BIG_ENDIAN, _data_set(BIG_ENDIAN) + pixels[BIG_ENDIAN]),
        "deflated": (DEFLATED, deflate.compress(whole) + deflate.flush()),
        "bomb": (DEFLATED, zlib.compress(bytes(2 << 20))[2:-4]),
        "encapsulated": (JPEG, _data_set(JPEG) + jpeg),
        "nested": (EXPLICIT, (undefined + begin) * 20 + (end + close) * 20),
        "too-deep": (EXPLICIT, (undefined + begin) * 300),
        "lying-length": (
            EXPLICIT,
            _data_set(EXPLICIT)
            + struct.pack("<HH2sxxI", 0x7FE0, 0x0010, b"OB", 0xFFFFFFF0)
            + bytes(9),
        ),
    }
    return {
        name: bytes((SYNTAXES.index(syntax),)) + content
        for name, (syntax, content) in contents.items()
    }


def _hospitals() -> Mapping[str, bytes]:
    whole = """[organisation]
name = "heronsgate"
title = "Heronsgate Hospital"
[[facility]]
name = "main"
title = "Main"
time_zone = "Europe/Berlin"
[[link]]
name = "radiology"
facility = "main"
  [[link.listener]]
  name = "store"
  ae_title = "SWALLOWTAIL"
  port = 11112
  [[link.device]]
  name = "ct"
  ae_title = "HERON"
  addresses = ["10.20.0.15"]
[[token]]
name = "reading room"
role = "clinician"
"""
    texts = {
        "whole": whole,
        "bracket": whole + '["x["]\n',
        "long-number": "a = " + "9" * 4400,
        "nested": "a = " + "[" * 4000,
    }
    return {name: text.encode() for name, text in texts.items()}


def seeds() -> Mapping[str, Mapping[str, bytes]]:
    """Give every target's seeds: target, name, bytes."""
    return {
        "association": _conversations(),
        "pdu": {
            name: encode_pdu(one)[:1] + encode_pdu(one)[HEADER_LENGTH:]
            for name, one in PDUS.items()
        },
        "command": {name: commands.encode(command) for name, command in COMMANDS.items()},
        "frame": _frames(),
        "session": _sessions(),
        "configuration": _documents(),
        "call": _calls(),
        "policy": _policies(),
        "data_set": _data_sets(),
        "hospital": _hospitals(),
    }


def write(root: Path = SEEDS) -> None:
    """Write all of them.

    What is there under another name stays (inputs that once broke something).
    """
    for target, named in seeds().items():
        (root / target).mkdir(parents=True, exist_ok=True)
        for name, raw in named.items():
            (root / target / name).write_bytes(raw)


if __name__ == "__main__":
    write()
