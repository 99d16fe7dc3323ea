"""Generate docs/conformance/responses.md from the response tables of Link's listener protocols.

python -m tools.generate_responses           writes the file
python -m tools.generate_responses --check   fails when it is not current
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from swallowtail.calls.dicom_listener import DicomListener
from swallowtail.calls.dimse_services.storage import FAILED_STORES_UNTIL_ABORT
from swallowtail.calls.responses import ResponseTable, Situation
from swallowtail.link.protocols import PROTOCOLS
from swallowtail.link.scp.admission import CONNECTIONS, CONNECTIONS_PER_ADDRESS

PAGE = Path(__file__).parents[1] / "docs" / "conformance" / "responses.md"
_DEFAULTS = DicomListener(name="any", ae_title="ANY", port=104)
HEAD = f"""# Responses to senders

Generated from the response tables of Link's listener protocols by
`python -m tools.generate_responses`; a test provokes every row.

Success is sent for data that the Cloud has fsynced and committed, for nothing else; the data set is
parsed afterwards ([what the sender is not notified of](acknowledged.md)). A permanent
response is sent for permanent causes only. Every sender gets its response at most 25 seconds after
the last byte of its message was read.

After {FAILED_STORES_UNTIL_ABORT} stores on one association got A700, the association is aborted.

A DICOM listener accepts {_DEFAULTS.max_associations} associations (`max_associations`),
{_DEFAULTS.max_associations_per_address} from one address (`max_associations_per_address`); a
quarter is reserved for known devices. Every association request above these limits gets a response.
Only above {CONNECTIONS} connections of a listener, or {CONNECTIONS_PER_ADDRESS} from one address,
is a connection closed unread.
"""


def section(protocol: str, table: ResponseTable) -> Iterator[str]:
    """Return the lines of one protocol."""
    yield f"\n## Protocol `{protocol}`\n"
    yield "| situation | " + " | ".join(table) + " |"
    yield "|---|" + "---|" * len(table)
    for situation in Situation:
        row = [column.get(situation) for column in table.values()]
        if any(row):
            yield (
                f"| {situation} | " + " | ".join(cell.text if cell else "—" for cell in row) + " |"
            )


def page() -> str:
    """Return the whole page."""
    sections = (line for name, row in PROTOCOLS.items() for line in section(name, row.responses))
    return "\n".join([HEAD.rstrip(), *sections]) + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    if arguments == ["--check"]:
        if PAGE.read_text() != page():
            print(f"{PAGE.name} is not current; run: python -m tools.generate_responses")
            return 1
        return 0
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
