"""Every cell of the wire's tables against rules written down a second time, and docs/wire.md
against the code.
"""

import itertools
import re
from pathlib import Path

import pytest

from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.wire.channel import (
    CHANNEL_TABLE,
    ChannelAction,
    ChannelInput,
    ChannelMachine,
    ChannelState,
)
from swallowtail.wire.control import GoodbyeReason, RefuseReason
from swallowtail.wire.frames import MAX_FRAME, MAX_PAYLOAD, ChannelPriority, FrameType, Opening
from swallowtail.wire.handshake import CLOUD_HELLO_TABLE, LINK_HELLO_TABLE, HelloInput, HelloState
from swallowtail.wire.reasons import CloseCode, ResetReason, WireError
from swallowtail.wire.window import ReceiveWindow, SendWindow, SessionBudget
from tools.generate_wire_states import PAGE as DRAWN
from tools.generate_wire_states import render

PAGE = (Path(__file__).parents[2] / "docs" / "wire.md").read_text()

S, I = ChannelState, ChannelInput  # noqa: E741
OPENING = {I.SEND_OPEN, I.RECEIVE_OPEN}
DIRECTIONS = {
    S.OPEN: (True, True),
    S.HALF_CLOSED_LOCAL: (False, True),
    S.HALF_CLOSED_REMOTE: (True, False),
}


def expected(state: ChannelState, what: ChannelInput) -> ChannelState | None:
    """Say where an input leads, from the two directions alone; None: a violation."""
    if state is S.IDLE or what in OPENING:
        return S.OPEN if state is S.IDLE and what in OPENING else None
    if state in (S.CLOSED, S.RESET):
        return None if what in (I.SEND_DATA, I.SEND_FIN) else state
    local, remote = DIRECTIONS[state]
    if what in (I.SEND_RESET, I.RECEIVE_RESET, I.LOSE_SESSION):
        return S.RESET
    if what is I.RECEIVE_CREDIT:
        return state
    if what in (I.SEND_DATA, I.SEND_FIN):
        if not local:
            return None
        local = what is I.SEND_DATA
    else:
        if not remote:
            return None
        remote = what is I.RECEIVE_DATA
    return next((name for name, open_ in DIRECTIONS.items() if open_ == (local, remote)), S.CLOSED)


class Owner:
    def __getattr__(self, _: str):
        return lambda *_: None


def channel_in(state: ChannelState) -> ChannelMachine:
    opening = Opening(call="c", priority=ChannelPriority.BULK)
    channel = ChannelMachine(
        5, opening, Owner(), SendWindow(10), ReceiveWindow(10, SessionBudget(), 0.0)
    )
    channel.state = state
    return channel


@pytest.mark.parametrize(("state", "what"), list(itertools.product(S, I)))
def test_every_cell_of_the_channel_table(state, what):
    channel = channel_in(state)
    goal = expected(state, what)
    if goal is None:
        assert (state, what) not in CHANNEL_TABLE
        with pytest.raises(
            LocalProtocolError if what.name.startswith("SEND") else WireError, match="channel 5"
        ):
            channel.step(what)
        assert channel.state is state
        return
    action = channel.step(what)
    assert channel.state is goal
    assert (action is ChannelAction.DROP) == (state in (S.CLOSED, S.RESET))


def hello_paths(table, first, goal):
    """Give all sequences of inputs that lead from `first` to `goal`."""
    found, todo = [], [(first, ())]
    while todo:
        state, path = todo.pop()
        if state is goal:
            found.append(path)
            continue
        todo += [
            (after, (*path, what)) for (before, what), after in table.items() if before is state
        ]
    return found


H = HelloInput


def test_a_link_is_welcomed_only_after_a_challenge_and_can_be_refused_before():
    first = HelloState.EXPECT_CHALLENGE
    assert hello_paths(LINK_HELLO_TABLE, first, HelloState.ACCEPTED) == [
        (H.RECEIVE_CHALLENGE, H.RECEIVE_WELCOME)
    ]
    assert sorted(map(len, hello_paths(LINK_HELLO_TABLE, first, HelloState.REFUSED))) == [1, 2]
    assert sorted(map(len, hello_paths(LINK_HELLO_TABLE, first, HelloState.FAILED))) == [1, 2]


def test_a_cloud_welcomes_only_after_a_hello():
    first = HelloState.EXPECT_HELLO
    assert hello_paths(CLOUD_HELLO_TABLE, first, HelloState.ACCEPTED) == [
        (H.RECEIVE_HELLO, H.SEND_WELCOME)
    ]
    assert sorted(map(len, hello_paths(CLOUD_HELLO_TABLE, first, HelloState.REFUSED))) == [1, 2]
    assert sorted(map(len, hello_paths(CLOUD_HELLO_TABLE, first, HelloState.FAILED))) == [1, 2]


@pytest.mark.parametrize("table", [LINK_HELLO_TABLE, CLOUD_HELLO_TABLE], ids=["link", "cloud"])
def test_nothing_leaves_the_end_of_a_hello(table):
    ends = {HelloState.ACCEPTED, HelloState.REFUSED, HelloState.FAILED}
    assert not [row for row in table if row[0] in ends]
    assert {after for after in table.values() if after not in {state for state, _ in table}} == ends


def section(title: str) -> str:
    return re.search(rf"^## \d+ {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL).group(1)


def numbered(title: str) -> dict[str, int]:
    return {
        name: int(code)
        for code, name in re.findall(r"^- (\d+) ([A-Z_]+)\b", section(title), re.MULTILINE)
    }


def test_the_page_is_short():
    assert len(PAGE.splitlines()) <= 200
    assert len(PAGE.split()) <= 1_500


def test_the_frame_types_are_the_page_s():
    assert numbered("Frames") == {kind.name: kind.value for kind in FrameType}
    assert f"at most {MAX_FRAME:,} bytes" in section("Frames")
    assert f"payload of at most {MAX_PAYLOAD:,}" in section("Frames")


def test_the_reset_reasons_are_the_page_s():
    assert numbered("Reset reasons") == {
        reason.name: reason.value
        for reason in ResetReason
        if reason is not ResetReason.SESSION_LOST
    }
    assert (
        ResetReason.read(10)
        is ResetReason.read(0)
        is ResetReason.read(65535)
        is ResetReason.INTERNAL
    )
    assert ResetReason.read(3) is ResetReason.UNKNOWN_CALL


def test_the_close_codes_are_the_page_s():
    assert {
        int(code) for code in re.findall(r"^- (\d{4}):", section("Violations"), re.MULTILINE)
    } == {int(c) for c in CloseCode}


def test_the_reasons_of_refuse_and_goodbye_are_the_page_s():
    assert set(re.findall(r"^- `([a-z]+)`:", section("Hello"), re.MULTILINE)) == {
        reason.value for reason in RefuseReason
    }
    goodbye = re.search(
        r"CONTROL `goodbye` \{.*?\}: (.*?)\. ", section("Scheduling and closing"), re.DOTALL
    ).group(1)
    assert set(re.findall(r"`([a-z]+)`", goodbye)) == {reason.value for reason in GoodbyeReason}


def test_the_drawings_are_current():
    assert DRAWN.read_text(encoding="utf-8") == render(), (
        "run: python -m tools.generate_wire_states"
    )


def test_every_row_of_every_table_is_drawn_or_listed():
    page = DRAWN.read_text(encoding="utf-8")
    for (before, what), (action, after) in CHANNEL_TABLE.items():
        if action is ChannelAction.DO:
            assert f"    {before.name} --> {after.name} : {what.value}\n" in page
        else:
            assert re.search(rf"^\| {before.value} \|.*\b{what.value}\b", page, re.MULTILINE)
    for table in (LINK_HELLO_TABLE, CLOUD_HELLO_TABLE):
        for (start, cause), end in table.items():
            assert f"    {start.name} --> {end.name} : {cause.value}\n" in page
