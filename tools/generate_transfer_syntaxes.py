"""The page docs/conformance/transfer-syntaxes.md: what a listener accepts, from the table of UIDs.

python -m tools.generate_transfer_syntaxes           writes the file
python -m tools.generate_transfer_syntaxes --check   fails when it is not current
"""

import sys
from pathlib import Path

from pydicom._uid_dict import UID_dictionary

from swallowtail.dicom.uid_table import OTHER_TRANSFER_SYNTAXES, TRANSFER_SYNTAXES
from tools import generated_page

PAGE = Path(__file__).parents[1] / "docs" / "conformance" / "transfer-syntaxes.md"
HEAD = """# Which transfer syntaxes a listener accepts

Generated from `swallowtail.dicom.uid_table` (PS3.6 Annex A) by `python -m
tools.generate_transfer_syntaxes`.

Of the transfer syntaxes that a presentation context proposes, a listener accepts one (PS3.8
9.3.3.2):

- the first of its `transfer_syntaxes` that is proposed, if it has such a list;
- otherwise the first proposed that is in the table below, or in the listener's
  `additional_transfer_syntaxes`.

If none is left, the context is refused with result 4 (transfer syntaxes not supported). This
holds for storage and for Verification; for Verification, which has no data set,
`transfer_syntaxes` does not narrow the table.

A private transfer syntax is accepted only by a listener whose `additional_transfer_syntaxes` (or
`transfer_syntaxes`) names it. Its data sets are stored and forwarded byte by byte. They are
indexed as Explicit VR Little Endian; what cannot be read so is kept and quarantined.

Retired transfer syntaxes are accepted. Modalities in the field still send Explicit VR Big Endian,
and archives hold the retired JPEG processes. Link does not decode data sets, so nothing is lost
by taking them; a refusal would keep such instances out permanently."""
FOREIGN = """
## Transfer syntaxes of the standard that are not accepted

No association carries these: they are encodings for other media, for real-time video (PS3.22), or
another file format."""
COLUMNS = ["", "| UID | name | retired |", "|---|---|---|"]


def is_retired(uid: str) -> bool:
    """Return whether PS3.6 Annex A marks `uid` as retired."""
    return uid in UID_dictionary and UID_dictionary[uid][3] == "Retired"


def page() -> str:
    """Return the whole page."""
    accepted = [_row(*item) for item in TRANSFER_SYNTAXES.items()]
    foreign = [_row(*item) for item in OTHER_TRANSFER_SYNTAXES.items()]
    return "\n".join([HEAD.rstrip(), *COLUMNS, *accepted, FOREIGN.rstrip(), *COLUMNS, *foreign, ""])


def _row(uid: str, name: str) -> str:
    return f"| {uid} | {name} | {'yes' if is_retired(uid) else ''} |"


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    return generated_page.run(PAGE, page, "generate_transfer_syntaxes", arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
