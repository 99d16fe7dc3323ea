"""Two families of protocol error.

We misused the machine (Local), or the peer broke the protocol (Remote).

Any other exception that leaves a machine is a bug. A machine raises Remote errors only from its
receiving side; after one it is closed, and what it still has to send to the peer
(an A-ABORT, a reset) is in `data_to_send()`.

    ProtocolError
    ├── LocalProtocolError       the call is not allowed in this state; nothing was sent
    └── RemoteProtocolError      the peer's bytes are not allowed; subclasses carry the peer's code
"""


class ProtocolError(Exception):
    """The protocol does not allow this."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])


class LocalProtocolError(ProtocolError):
    """A call of the machine that its state does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the protocol does not allow."""
