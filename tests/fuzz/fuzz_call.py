"""The messages of calls: which one (one byte), then its bytes.

What is read survives its own bytes.
"""

from typing import Any

from swallowtail.calls import config, diagnostics, report, store, transfer
from swallowtail.calls.codec import MalformedCallError, Reader, encode

READERS: tuple[Reader[Any], ...] = (
    store.read_store_request,
    transfer.read_transfer_end,
    store.read_store_answer,
    config.read_configure,
    config.read_configure_answer,
    report.read_report,
    report.read_noted,
    diagnostics.read_ping,
    diagnostics.read_pong,
    diagnostics.read_status_query,
    diagnostics.read_link_status,
)


def check(data: bytes) -> None:
    """Decode, encode, decode."""
    if not data:
        return
    read = READERS[data[0] % len(READERS)]
    try:
        raw = encode(
            read(data[1:])
        )  # what left out its defaults may be too long when they are written
    except MalformedCallError:
        return
    assert encode(read(raw)) == raw  # bytes, since a time may be NaN
