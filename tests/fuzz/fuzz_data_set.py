"""A stored data set on its way through the index: its transfer syntax (one byte), then its bytes.

The walk tells where everything lies, without a gap, or says what is wrong; the worker's parse gives
an outcome.
"""

import io
import zlib

import msgspec

from swallowtail.cloud.data_set.elements import BIG_ENDIAN, IMPLICIT, MalformedDataSetError, Walk
from swallowtail.cloud.index.parse import parse
from swallowtail.cloud.index.source import FileSource, inflated
from swallowtail.cloud.model.indexing import Indexed, Quarantined
from tests.unit.cloud.index.data_sets import job

EXPLICIT, DEFLATED, JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50"
SYNTAXES = (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, JPEG)
SOP_CLASS, SOP_INSTANCE = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.3"


def check(data: bytes) -> None:
    """Walk, then parse."""
    if not data:
        return
    syntax, content = SYNTAXES[data[0] % len(SYNTAXES)], data[1:]
    try:
        _walk(
            syntax, inflated(io.BytesIO(content), len(content)) if syntax == DEFLATED else content
        )
    except MalformedDataSetError as error:
        problem = str(error)
    else:
        problem = ""
    outcome = parse(
        job(content, sop_instance=SOP_INSTANCE, sop_class=SOP_CLASS, syntax=syntax),
        io.BytesIO(content),
    )
    if problem:
        assert isinstance(outcome, Quarantined)
        assert outcome.problem
    elif isinstance(outcome, Indexed):
        assert isinstance(msgspec.json.decode(zlib.decompress(outcome.document)), dict)


def _walk(syntax: str, content: bytes) -> None:
    at = 0
    for element in Walk(
        FileSource(io.BytesIO(content), len(content)), syntax, lambda _: b"UN"
    ).elements():
        assert at == element.begin < element.start <= element.end
        for offset, length in element.fragments or ():
            assert element.start <= offset <= offset + length <= element.end
        at = element.end
    assert at == len(content)
