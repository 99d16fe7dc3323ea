"""When a session must end, as a table."""

import pytest

from swallowtail.cloud.links.desired import end_of
from swallowtail.cloud.model.tenancy import CodeState, Link
from swallowtail.wire.control import GoodbyeReason

KEY = b"k" * 32


@pytest.mark.parametrize(
    ("state", "key", "epoch", "reason"),
    [
        (CodeState.BOUND, KEY, 4, None),
        (CodeState.BOUND, KEY, 5, GoodbyeReason.ROTATED),
        (CodeState.FRESH, b"", 5, GoodbyeReason.REBOUND),
        (CodeState.REVOKED, KEY, 5, GoodbyeReason.REVOKED),
        (CodeState.REVOKED, b"", 5, GoodbyeReason.REVOKED),
        (CodeState.REVOKED, KEY, 4, GoodbyeReason.REVOKED),
    ],
)
def test_a_session_of_epoch_4_ends_when_its_link_has_moved_on(
    state: CodeState, key: bytes, epoch: int, reason: GoodbyeReason | None
) -> None:
    link = Link(id="l", facility="f", name="n", code_state=state, key=key, epoch=epoch, created=0.0)
    assert end_of(link, 4) is reason
