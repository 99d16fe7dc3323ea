"""Writes docs/conformance/answers.md from `swallowtail.calls.dimse_services`.

What each sender is told, in words a site can check.

python -m tools.generate_answers           writes the file
python -m tools.generate_answers --check   fails when it is not current
"""

import sys
from pathlib import Path

from swallowtail.calls.answers import (
    Abort,
    Answer,
    RefuseContext,
    Reject,
    Situation,
    Status,
)
from swallowtail.calls.config import DicomListener
from swallowtail.calls.dimse_services.storage import FAILED_STORES_UNTIL_ABORT
from swallowtail.calls.dimse_services.table import RESPONSE_TABLE
from swallowtail.link.scp.admission import CONNECTIONS, CONNECTIONS_PER_ADDRESS

LIMITS = DicomListener(name="any", ae_title="ANY", port=104)
"""The defaults of a listener."""
PAGE = Path(__file__).parents[1] / "docs" / "conformance" / "answers.md"
HEAD = f"""# What each sender is told

Generated from `swallowtail.calls.dimse_services` by `python -m tools.generate_answers`; `tests/unit/link/scp/test_answers.py` walks every row.

0000 is said for what the Cloud has fsynced and committed, for nothing else; the data set is parsed
afterwards ([what the sender does not learn](acknowledged.md)). An answer that looks permanent is given for permanent
causes alone. Any sender is answered at most 25 seconds after the last byte of its message was read. After
{FAILED_STORES_UNTIL_ABORT} stores on one association were answered A700, the association is aborted.

A listener serves `max_associations` ({LIMITS.max_associations}) associations, `max_associations_per_address`
({LIMITS.max_associations_per_address}) of one address; a quarter is kept for known devices. Every association
request above these limits is answered. Only above {CONNECTIONS} connections of a listener, or
{CONNECTIONS_PER_ADDRESS} of one address, a connection is closed unread.
"""
RESULTS = {1: "permanent", 2: "transient"}
SOURCES = {1: "service user", 2: "service provider, ACSE", 3: "service provider, presentation"}
STATUSES = {
    0x0000: "success",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0xA700: "out of resources",
    0xC000: "cannot understand",
}


def words(answer: Answer) -> str:
    """Say an answer as a conformance statement does."""
    match answer:
        case Status(code, then_abort):
            return f"status {code:04X} ({STATUSES[code]})" + (
                ", then A-ABORT" if then_abort else ""
            )
        case Reject(result, source, reason):
            return (
                f"A-ASSOCIATE-RJ ({result},{source},{reason}): {RESULTS[result]},"
                f" {SOURCES[source]}, reason {reason}"
            )
        case RefuseContext(result):
            return f"presentation context refused with result {result}"
        case Abort(source, reason):
            return f"A-ABORT (source {source}, reason {reason})"


def page() -> str:
    """Give the whole page."""
    lines = [
        HEAD,
        f"| situation | {' | '.join(RESPONSE_TABLE)} |",
        "|---" * (1 + len(RESPONSE_TABLE)) + "|",
    ]
    for situation in Situation:
        cells = (
            words(answers[situation]) if situation in answers else "—"
            for answers in RESPONSE_TABLE.values()
        )
        lines.append(f"| {situation} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    if arguments == ["--check"]:
        if PAGE.read_text() != page():
            print(f"{PAGE.name} is not current; run: python -m tools.generate_answers")
            return 1
        return 0
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
