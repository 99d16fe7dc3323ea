"""Generate docs/alarms.md from the table of conditions.

python -m tools.generate_alarms           writes the file
python -m tools.generate_alarms --check   fails when it is not current
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from swallowtail.cloud.model.conditions import CONDITIONS
from tools.generated_page import run

PAGE = Path(__file__).parents[1] / "docs" / "alarms.md"
HEAD = """# Alarms

Generated from `cloud/model/conditions.py` by `python -m tools.generate_alarms`.

An alarm is one condition of one subject. It is raised once, and cleared when the condition is over;
what is seen again meanwhile raises no second one; one that gets worse changes its severity and is
to be acknowledged again. Acknowledging records that a person has seen it and changes nothing else.
`GET /api/v1/alarms` lists those that are raised, `?cleared=true` the past ones too. No alarm holds
patient data but UIDs.

Conditions that no event reports are checked every 15 s; their alarms are raised and cleared up to
15 s late.
"""
TAIL = """
What ends without being delivered is a dead letter, with the reason, in
`GET /api/v1/deliveries?state=dead-letter`; or `stopped`, where the destination has
`at_cap = stop`, and then its lane waits. A delivery comes to that end when

- the destination has refused the instance itself as often as its `attempts` state (A9xx, Cxxx,
  01xx, a presentation context refused without a cause: results 1 and 2 of PS3.8 9.3.3.2),
- the destination does not support its SOP class or transfer syntax (results 3 and 4), and it cannot
  be transcoded to one that it does support: at the first attempt, since another would meet the same
  answer,
- the association has ended under this very instance twice that often in a row, while the
  destination answers a C-ECHO; after three such instances in a row without one that arrives, the
  destination is taken for failing instead, and nothing more is parked,
- its destination is no longer configured (then it is a dead letter).

It waits for a person. *Retry* tries it once more in its old place; its refusals count on. *Resend*
begins to count again, at the end of its lane: the order changes, except for a stopped one, which
keeps its place. *Skip* gives it up, *park* sets a stopped one aside. `GET
/api/v1/deliveries/{id}/attempts` shows how its last 20 attempts ended.
"""


def rows() -> Iterator[str]:
    """Return the lines of the table."""
    yield "| condition | subject | raised | cleared | what to do |"
    yield "|---|---|---|---|---|"
    for condition, one in CONDITIONS.items():
        severities = ", ".join(one.severities)
        cells = (f"`{condition}` ({severities})", one.subject, one.raised, one.cleared, one.action)
        yield f"| {' | '.join(cells)} |"


def page() -> str:
    """Return the whole page."""
    return "\n".join([HEAD, *rows()]) + f"\n{TAIL}"


if __name__ == "__main__":
    sys.exit(run(PAGE, page, "generate_alarms", sys.argv[1:]))
