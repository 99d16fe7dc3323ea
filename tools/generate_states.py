"""The page docs/dicom-states.md: the upper layer's state machine, drawn from its table.

python -m tools.generate_states           writes the file
python -m tools.generate_states --check   fails when it is not current
"""

import sys
from pathlib import Path
from typing import Final

from swallowtail.dicom.states import TABLE, State
from tools import generated_page

PAGE: Final = Path(__file__).parent.parent / "docs" / "dicom-states.md"

HEAD: Final = """# The DICOM upper layer's states

Generated from `swallowtail.dicom.states` by python -m tools.generate_states           writes the
file python -m tools.generate_states --check   fails when it is not current Left out of the
drawing: from every state of an association (Sta3, Sta5 to Sta12) our A-ABORT leads to Sta13, the
peer's A-ABORT and a lost transport lead to Sta1, and a PDU that has no arrow is a violation and
leads to Sta13 too. AE-6 leads to Sta13 when it rejects, AR-8 to Sta10 in the acceptor.

```mermaid
stateDiagram-v2
"""
EVERYWHERE: Final = ("Evt15", "Evt16", "Evt17")


def render() -> str:
    """Return the page."""
    lines = [
        f"    {state.value} : {state.value} {state.name.lower().replace('_', ' ')}"
        for state in State
    ]
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, event), (action, after) in TABLE.items():
        if state is not State.CLOSING and event.value in EVERYWHERE:
            continue
        arrows.setdefault((state.value, after.value), []).append(
            f"{event.value} {event.name.lower().replace('_', ' ')} / {action.value}"
        )
    for (state_label, after_label), labels in arrows.items():
        lines.extend(f"    {state_label} --> {after_label} : {label}" for label in labels)
    return HEAD + "\n".join(lines) + "\n```\n"


if __name__ == "__main__":
    sys.exit(generated_page.run(PAGE, render, "generate_states", sys.argv[1:]))
