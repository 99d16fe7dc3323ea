"""The search itself can fail.

What is planted is found, in every form and every corner, and nothing else is.
"""

import base64
import json
import secrets
from pathlib import Path

import pytest

from tests.leaks.canary import PATIENT, STUDY_UID, TEXT, WORDS, finds, sweep

WRITINGS = {
    "plain": str.encode,
    "upper": lambda text: text.upper().encode(),
    "json": lambda text: json.dumps({"event": f"no {text}!"}).encode(),
    "repr": lambda text: repr(text.encode("utf-16-le").decode("utf-16-le")).encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16-be": lambda text: text.encode("utf-16-be"),
    "hex": lambda text: text.encode().hex().encode(),
    "HEX": lambda text: text.encode().hex().upper().encode(),
    "hex of utf-16": lambda text: text.encode("utf-16-le").hex().encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64 of utf-16": lambda text: base64.b64encode(text.encode("utf-16-le")),
    "base64url, one before": lambda text: base64.urlsafe_b64encode(b"x" + text.encode()),
    "base64, two before": lambda text: base64.b64encode(b"xy" + text.encode() + b"z"),
}


@pytest.mark.parametrize("writing", WRITINGS)
@pytest.mark.parametrize("word", WORDS)
def test_a_planted_word_is_found_in_every_writing(tmp_path: Path, word: str, writing: str) -> None:
    hidden = tmp_path / "state" / "deep" / ".hidden"
    hidden.parent.mkdir(parents=True)
    hidden.write_bytes(
        secrets.token_bytes(1000) + WRITINGS[writing](word) + secrets.token_bytes(1000)
    )
    assert any(word in found for found in sweep([tmp_path / "state"]))


def test_a_name_of_a_file_counts(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / f"{STUDY_UID}.dcm").touch()
    assert [*sweep([tmp_path / "tmp"])]


def test_a_place_that_is_not_there_is_no_clean_place(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        [*sweep([tmp_path / "nowhere"])]


def test_what_has_nothing_to_do_with_the_patient_is_clean(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(secrets.token_bytes(1_000_000) + b"Heron^Ada SIM-0001")
    assert [*sweep([tmp_path])] == []
    assert finds(b"") == []
    assert set(WORDS) <= {PATIENT.number, PATIENT.born, STUDY_UID} | {
        word for word in WORDS if word in TEXT
    }
