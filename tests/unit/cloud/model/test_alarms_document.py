"""Every condition stands in docs/alarms.md, with when it is raised, when it is cleared, and what to
do.
"""

from pathlib import Path

from swallowtail.cloud.model.operations import Condition

DOCUMENT = Path(__file__).parents[4] / "docs" / "alarms.md"


def test_every_condition_is_documented_and_no_other() -> None:
    rows = [line.split("|") for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    assert sorted(row[1].split("`")[1] for row in rows) == sorted(Condition)
    for row in rows:
        assert len(row) == 7
        assert all(len(cell.strip()) > 4 for cell in row[1:-1]), row[1]
