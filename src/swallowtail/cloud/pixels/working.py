"""One job, one answer.

Whatever an unknown sender's bytes do to a codec becomes a value here, or ends the process.
"""

import logging
import warnings
from typing import BinaryIO

from swallowtail.cloud.data_set.elements import MalformedDataSetError
from swallowtail.cloud.model.transcoding import Cause
from swallowtail.cloud.pixels.jobs import Answer, Job, JobRefused, Made, Render, TranscodeFrames
from swallowtail.cloud.pixels.render import render
from swallowtail.cloud.pixels.stored import PixelsRefusedError
from swallowtail.cloud.pixels.transcode import transcode, transcode_frames

logging.getLogger("pydicom").setLevel(
    logging.CRITICAL + 1
)  # what it warns of may hold a patient's values


def work(job: Job, blob: BinaryIO, out: BinaryIO) -> Answer:
    """Do a job."""
    blob.seek(0)  # both descriptors' places are shared with a process that did not survive this job
    out.seek(0)
    out.truncate()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = _made(job, blob, out)
            out.flush()
            return made
    except PixelsRefusedError as error:
        return JobRefused(error.cause, error.reason)
    except MalformedDataSetError as error:
        return JobRefused(Cause.MALFORMED, str(error))
    except MemoryError:
        return JobRefused(Cause.TOO_LARGE, "it needs more memory than a worker has")
    except OSError as error:
        return JobRefused(Cause.TRANSIENT, f"the disk refuses the result ({error.strerror})")
    # any error of the libraries on foreign bytes is a verdict on the bytes
    except Exception as error:  # noqa: BLE001
        return JobRefused(Cause.MALFORMED, f"it cannot be read ({type(error).__name__})")


def _made(job: Job, blob: BinaryIO, out: BinaryIO) -> Made:
    if isinstance(job, Render):
        return render(job, blob, out)
    return (
        transcode_frames(job, blob, out)
        if isinstance(job, TranscodeFrames)
        else transcode(job, blob, out)
    )
