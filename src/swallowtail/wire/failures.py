"""The exceptions that the shell raises for failed channels and sessions."""

from swallowtail.wire.channel import WasReset
from swallowtail.wire.control import Refuse
from swallowtail.wire.events import SessionClose


class ChannelResetError(Exception):
    """The channel failed.

    `reason` and `text` are the peer's, ours if we reset it, or SESSION_LOST.
    """

    def __init__(self, failure: WasReset) -> None:
        super().__init__(f"{failure.reason.name}: {failure.text}")
        self.reason, self.text = failure


class SessionClosedError(Exception):
    """The session has ended; `close` contains code and text."""

    def __init__(self, close: SessionClose) -> None:
        super().__init__(f"the session was closed with {close.code}: {close.text}")
        self.close = close


class RefusedError(Exception):
    """The Cloud refused the hello; `refuse` contains the reason and when to retry."""

    def __init__(self, refuse: Refuse) -> None:
        super().__init__(f"the Cloud refused this Link ({refuse.reason}): {refuse.detail}")
        self.refuse = refuse
