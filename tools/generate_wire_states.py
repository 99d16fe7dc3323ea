"""The page docs/wire-states.md: the wire's state machines, drawn from their tables.

python -m tools.generate_wire_states           writes the file
python -m tools.generate_wire_states --check   fails when it is not current
"""

import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Final

from swallowtail.wire.channel import CHANNEL_TABLE, ChannelAction
from swallowtail.wire.handshake import CLOUD_HELLO_TABLE, LINK_HELLO_TABLE
from tools import generated_page

PAGE: Final = Path(__file__).parent.parent / "docs" / "wire-states.md"

HEAD: Final = """# The wire's states

Generated from `swallowtail.wire` by `python -m tools.generate_wire_states`.
`docs/wire.md` specifies each input. What has no arrow is a violation by whoever did it (wire §9).

## A channel

The same on both sides. Left out of the drawing: what is dropped without effect, below it.

"""
DROPPED: Final = """
| state | dropped there |
|---|---|
"""
LINK_HEAD: Final = """
## The hello, at Link

"""
CLOUD_HEAD: Final = """
## The hello, at the Cloud

"""

Arrow = tuple[Enum, str, Enum]


def _drawing(arrows: list[Arrow]) -> Iterator[str]:
    yield "```mermaid\nstateDiagram-v2\n"
    for state in dict.fromkeys(state for before, _, after in arrows for state in (before, after)):
        yield f"    {state.name} : {state.value}\n"
    joined: dict[tuple[Enum, Enum], list[str]] = {}
    for before, label, after in arrows:
        joined.setdefault((before, after), []).append(label)
    yield f"    [*] --> {arrows[0][0].name}\n"
    for (before, after), labels in joined.items():
        yield from (f"    {before.name} --> {after.name} : {label}\n" for label in labels)
    yield "```\n"


def _dropped() -> Iterator[str]:
    rows: dict[str, list[str]] = {}
    for (state, what), (action, _) in CHANNEL_TABLE.items():
        if action is ChannelAction.DROP:
            rows.setdefault(state.value, []).append(what.value)
    yield from (f"| {state} | {', '.join(inputs)} |\n" for state, inputs in rows.items())


def render() -> str:
    """Return the page."""
    channel: list[Arrow] = [
        (before, what.value, after)
        for (before, what), (action, after) in CHANNEL_TABLE.items()
        if action is ChannelAction.DO
    ]
    link: list[Arrow] = [
        (before, what.value, after) for (before, what), after in LINK_HELLO_TABLE.items()
    ]
    cloud: list[Arrow] = [
        (before, what.value, after) for (before, what), after in CLOUD_HELLO_TABLE.items()
    ]
    parts = [
        HEAD,
        *_drawing(channel),
        DROPPED,
        *_dropped(),
        LINK_HEAD,
        *_drawing(link),
        CLOUD_HEAD,
        *_drawing(cloud),
    ]
    return "".join(parts)


if __name__ == "__main__":
    sys.exit(generated_page.run(PAGE, render, "generate_wire_states", sys.argv[1:]))
