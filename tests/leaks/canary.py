"""An invented patient that stands in no other text, and the search for any trace of it, in whatever
form it was written.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from swallowtail.sim.dicom_files import Patient

PATIENT: Final = Patient("Qwyxelbrant^Zyphorine", "KNRY7Q93XK", "19230517", "F")
DESCRIPTION: Final = "Vorpalzine sweep"
STUDY_UID: Final = "2.25.190739518264077713"
WORDS: Final = ("Qwyxelbrant", "Zyphorine", PATIENT.number, PATIENT.born, "Vorpalzine", STUDY_UID)
"""Whole values are made of these, so that a part of a value is found too.

The accession number holds the patient's.
"""
TEXT: Final = f"{PATIENT.name} {PATIENT.number} {PATIENT.born} {DESCRIPTION}"


def forms(word: str) -> Mapping[str, bytes]:
    """Give what a word looks like, in lower case as `finds` has it.

    Of base64 what is the same whatever stands around it.
    """
    plain = word.encode()
    written = {
        "plain": plain,
        "UTF-16LE": word.encode("utf-16-le"),
        "UTF-16BE": word.encode("utf-16-be"),
    }
    found = {name: one.lower() for name, one in written.items()}
    for name, one in written.items():
        for case, letters in (("as it is", one), ("lower", one.lower()), ("upper", one.upper())):
            found[f"hex of {name}, {case}"] = letters.hex().encode()
            for shift in range(3):
                whole = base64.b64encode(bytes(shift) + letters)
                settled = whole[4 if shift else 0 : (shift + len(letters)) // 3 * 4]
                found[f"base64 of {name}, {case}, {shift}"] = settled.lower()
    return found


FORMS: Final = {f"{word} ({name})": form for word in WORDS for name, form in forms(word).items()}


def finds(content: bytes) -> list[str]:
    """Say which words stand in this content, and how written."""
    folded = content.lower()
    return [name for name, form in FORMS.items() if form in folded]


def sweep(places: Iterable[Path]) -> Iterator[str]:
    """Say where in these files, and in all files below these folders, the patient stands.

    Names count as well.
    """
    for place in places:
        if not place.exists():
            raise FileNotFoundError(place)
        for path in [place, *(sorted(place.rglob("*")) if place.is_dir() else ())]:
            content = path.read_bytes() if path.is_file() else b""
            for found in finds(str(path.relative_to(place.parent)).encode() + b"\0" + content):
                yield f"{path}: {found}"
