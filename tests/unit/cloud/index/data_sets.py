"""pydicom's test files as data sets on their way through the index.

The bytes after group 0002, and the job that tells of them.
"""

import io
from pathlib import Path

import pydicom
from pydicom.filereader import _read_file_meta_info

from swallowtail.cloud.model.imaging import InstanceIdentity
from swallowtail.cloud.model.indexing import IndexJob
from tests.conformance.invented import NORTH


def job(
    content: bytes, *, sop_instance: str, sop_class: str, syntax: str, length: int | None = None
) -> IndexJob:
    """The job of a stored data set."""
    identity = InstanceIdentity(sop_instance=sop_instance, transfer_syntax=syntax, sha256=b"s" * 32)
    size = len(content) if length is None else length
    return IndexJob(
        tenant=NORTH,
        instance=7,
        identity=identity,
        sop_class=sop_class,
        length=size,
        until=0.0,
    )


def file_of(name: str) -> Path:
    """A file of pydicom's package, never one that it would download."""
    return next((Path(pydicom.__file__).parent / "data").glob(f"*/{name}"))


def stored(name: str) -> tuple[IndexJob, bytes]:
    """A test file's job and data set."""
    raw = file_of(name).read_bytes()
    file = io.BytesIO(raw)
    file.seek(132)
    meta = _read_file_meta_info(file)
    content = raw[file.tell() :]
    data = pydicom.dcmread(io.BytesIO(raw), stop_before_pixels=True)
    syntax = str(meta.TransferSyntaxUID)
    return job(
        content,
        sop_instance=str(data.SOPInstanceUID),
        sop_class=str(data.SOPClassUID),
        syntax=syntax,
    ), content
