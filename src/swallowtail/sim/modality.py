"""A modality on pynetdicom, a peer that we did not write.

It reports for every instance what it received, and nothing else.

Data sets travel byte by byte as they are in their files: pynetdicom reads and encodes them again
unless it is notified otherwise.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RJ, P_DATA_TF

_config.STORE_SEND_CHUNKED_DATASET = (
    True  # the file's bytes, not pydicom's encoding of what it read
)

VERIFICATION: Final = "1.2.840.10008.1.1"
DEADLINE: Final = 40.0
"""Seconds for an answer; the promise is 25 after the last byte (design, Deadlines)."""

Context = tuple[str, str]
"""A SOP class and the one transfer syntax that is proposed for it."""


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """The response to one instance, or to the association."""

    sop_instance: str
    status: int | None
    """The DIMSE status; None when no answer came."""
    outcome: str
    """`0000` and other statuses as four hexadecimal digits, `rejected (r,s,d)`, `context refused
    (n)`, `aborted`, `no answer`, `connection lost`, `no connection`, `not sent` (the association
    had ended before).
    """
    seconds: float

    @property
    def stored(self) -> bool:
        """Return whether the modality may discard the instance."""
        return self.status == 0x0000


def leave_responses(association: Association) -> None:
    """Keep pynetdicom's own thread from taking the response that a request waits for.

    A request clears the checkpoint and takes the thread for paused. One that has passed the
    checkpoint already, and has not reported it yet, reads the next message all the same: under load
    the response, which it drops as unexpected.
    """
    read = association.dimse.get_msg

    def get_msg(block: bool = False) -> Any:
        # its only mark of a request under way
        requested = not association._reactor_checkpoint.is_set()  # noqa: SLF001
        return (None, None) if requested and not block else read(block)

    association.dimse.get_msg = get_msg  # type: ignore[method-assign]


@dataclass(frozen=True, slots=True)
class Modality:
    """One device with its AE title; every `send` and `echo` is an association of its own."""

    port: int
    called_ae: str
    calling_ae: str = "ULTRASOUND1"
    host: str = "127.0.0.1"
    max_pdu: int = 16_382
    handlers: list[Any] = field(default_factory=list)

    def echo(self) -> ResponseReceived:
        """Ask for C-ECHO and give what was received."""
        with self._associate([(VERIFICATION, "1.2.840.10008.1.2")]) as (
            association,
            started,
            refused,
        ):
            if refused:
                return ResponseReceived("", None, refused, time.monotonic() - started)
            return _received("", association.send_c_echo(), association, started)

    def send(
        self,
        files: Sequence[Path],
        *,
        contexts: Iterable[Context] | None = None,
        reported: Callable[[ResponseReceived], None] = lambda _: None,
        during: Callable[[int], None] | None = None,
    ) -> list[ResponseReceived]:
        """Send Part 10 files over one association and return the response to each, in their order.

        Without `contexts` each pair of SOP class and transfer syntax in the files is proposed once.
        `during` is called after each P-DATA PDU of the association has left, with their number so
        far: a place to pull a plug in the middle of a store.
        """
        identities = [_identity(path) for path in files]
        proposed = list(
            dict.fromkeys(
                contexts
                if contexts is not None
                else [(one.sop_class, one.syntax) for one in identities]
            )
        )
        results: list[ResponseReceived] = []
        with self._associate(proposed, during) as (association, began, refused):
            started = began
            for number, (path, identity) in enumerate(zip(files, identities, strict=True)):
                over = refused or ("" if association.is_established else "not sent")
                if not (over := over or _context_refusal(association, identity)):
                    answer = association.send_c_store(path, msg_id=number % 0xFFFF + 1)
                    responses = _received(identity.instance, answer, association, started)
                else:
                    responses = ResponseReceived(
                        identity.instance, None, over, time.monotonic() - started
                    )
                if responses.outcome in {"no answer", "connection lost"}:
                    association.abort()
                results.append(responses)
                reported(responses)
                started = time.monotonic()
        return results

    @contextmanager
    def _associate(
        self, proposed: Sequence[Context], during: Callable[[int], None] | None = None
    ) -> Iterator[tuple[Association, float, str]]:
        entity = AE(ae_title=self.calling_ae)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = (
            entity.connection_timeout
        ) = DEADLINE
        for sop_class, syntax in proposed:
            entity.add_requested_context(sop_class, syntax)
        connected: list[bool] = []
        rejections: list[A_ASSOCIATE_RJ] = []
        handlers = [
            *self.handlers,
            (evt.EVT_CONN_OPEN, lambda _: connected.append(True)),
            (
                evt.EVT_PDU_RECV,
                lambda event: (
                    rejections.append(event.pdu) if isinstance(event.pdu, A_ASSOCIATE_RJ) else None
                ),
            ),
            *([(evt.EVT_PDU_SENT, _counting(during))] if during else []),
        ]
        started = time.monotonic()
        association = entity.associate(
            self.host,
            self.port,
            ae_title=self.called_ae,
            max_pdu=self.max_pdu,
            evt_handlers=handlers,
        )
        leave_responses(association)
        try:
            yield (
                association,
                started,
                _refusal(association, rejections) if connected else "no connection",
            )
        finally:
            if association.is_established:
                association.release()
            _hang_up(association)


def _hang_up(association: Association) -> None:
    """Close what pynetdicom leaves open when the peer has vanished."""
    line = association.dul.socket
    if line is not None and line.socket is not None:
        line.socket.close()


@dataclass(frozen=True, slots=True)
class _Identity:
    sop_class: str
    syntax: str
    instance: str


def _identity(path: Path) -> _Identity:
    meta = read_file_meta_info(path)
    return _Identity(
        str(meta.MediaStorageSOPClassUID),
        str(meta.TransferSyntaxUID),
        str(meta.MediaStorageSOPInstanceUID),
    )


def _counting(during: Callable[[int], None]) -> Callable[[Any], None]:
    sent = 0

    def on_sent(event: Any) -> None:
        nonlocal sent
        if isinstance(event.pdu, P_DATA_TF):
            sent += 1
            during(sent)

    return on_sent


def _refusal(association: Association, rejections: Sequence[A_ASSOCIATE_RJ]) -> str:
    """Return why there is no association to use on; empty when there is one.

    What was received decides: pynetdicom calls one rejection in forty an abort when the connection
    ends right behind it.
    """
    if association.is_established:
        return ""
    for answer in rejections:
        return f"rejected ({answer.result},{answer.source},{answer.reason_diagnostic})"
    return "aborted"


def _context_refusal(association: Association, identity: _Identity) -> str:
    sop_class, syntax = identity.sop_class, identity.syntax
    accepted = [
        context for context in association.accepted_contexts if context.abstract_syntax == sop_class
    ]
    if any(syntax in context.transfer_syntax for context in accepted):
        return ""
    reasons = [
        context.result
        for context in association.rejected_contexts
        if context.abstract_syntax == sop_class and syntax in context.transfer_syntax
    ]
    return f"context refused ({reasons[0]})" if reasons else "context refused (not proposed)"


def _received(
    instance: str, answer: Any, association: Association, started: float
) -> ResponseReceived:
    seconds = time.monotonic() - started
    status = answer.get("Status")
    if status is not None:
        return ResponseReceived(instance, int(status), f"{int(status):04X}", seconds)
    if association.is_aborted:
        return ResponseReceived(instance, None, "aborted", seconds)
    return ResponseReceived(
        instance, None, "no answer" if seconds >= DEADLINE else "connection lost", seconds
    )
