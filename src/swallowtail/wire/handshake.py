"""Hello (wire §3) as two small machines, one for each side.

Whether a Link is accepted is the Cloud's decision, not the machine's.

Signatures are made and checked by callables that the owner passes in, and the nonce is
an argument: nothing here has a secret key.
"""

import enum
import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.wire.control import (
    HIGHEST_VERSION,
    LOWEST_VERSION,
    Challenge,
    Control,
    Hello,
    Refuse,
    RefuseReason,
    Welcome,
)
from swallowtail.wire.reasons import CloseCode, WireError
from swallowtail.wire.window import START_BUDGET

STEP_SECONDS: Final = 10.0  # wire §3
HELLO_SECONDS: Final = 20.0
DEFAULT_CHANNELS: Final = 256
OUTDATED_WAIT: Final = 60.0
"""Seconds until a Link that is too old or too new may try again (wire §3)."""
PROOF_CONTEXT: Final = b"swallowtail link 1\0"

Sign = Callable[[bytes], bytes]
"""The message to the 64-byte Ed25519 signature."""
Verify = Callable[[bytes, bytes, bytes], bool]
"""Key, signature, message."""


class HelloState(enum.Enum):
    """The state of a hello; the first two are the Link's, the next two the Cloud's."""

    EXPECT_CHALLENGE = "expect challenge"
    EXPECT_WELCOME = "expect welcome"
    EXPECT_HELLO = "expect hello"
    DECIDING = "deciding"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    FAILED = "failed"


class HelloInput(enum.Enum):
    """An input of a hello."""

    RECEIVE_CHALLENGE = "receive challenge"
    RECEIVE_HELLO = "receive hello"
    RECEIVE_WELCOME = "receive welcome"
    RECEIVE_REFUSE = "receive refuse"
    SEND_WELCOME = "send welcome"
    SEND_REFUSE = "send refuse"
    TIME_OUT = "time out"


_S, _I = HelloState, HelloInput

LINK_HELLO_TABLE: Final[Mapping[tuple[HelloState, HelloInput], HelloState]] = {
    (_S.EXPECT_CHALLENGE, _I.RECEIVE_CHALLENGE): _S.EXPECT_WELCOME,
    (_S.EXPECT_CHALLENGE, _I.RECEIVE_REFUSE): _S.REFUSED,
    (_S.EXPECT_CHALLENGE, _I.TIME_OUT): _S.FAILED,
    (_S.EXPECT_WELCOME, _I.RECEIVE_WELCOME): _S.ACCEPTED,
    (_S.EXPECT_WELCOME, _I.RECEIVE_REFUSE): _S.REFUSED,
    (_S.EXPECT_WELCOME, _I.TIME_OUT): _S.FAILED,
}

CLOUD_HELLO_TABLE: Final[Mapping[tuple[HelloState, HelloInput], HelloState]] = {
    (_S.EXPECT_HELLO, _I.RECEIVE_HELLO): _S.DECIDING,
    (_S.EXPECT_HELLO, _I.SEND_REFUSE): _S.REFUSED,
    (_S.EXPECT_HELLO, _I.TIME_OUT): _S.FAILED,
    (_S.DECIDING, _I.SEND_WELCOME): _S.ACCEPTED,
    (_S.DECIDING, _I.SEND_REFUSE): _S.REFUSED,
    (_S.DECIDING, _I.TIME_OUT): _S.FAILED,
}

_RECEIVED: Final[Mapping[type[Control], HelloInput]] = {
    Challenge: _I.RECEIVE_CHALLENGE,
    Hello: _I.RECEIVE_HELLO,
    Welcome: _I.RECEIVE_WELCOME,
    Refuse: _I.RECEIVE_REFUSE,
}


class HelloReceived(NamedTuple):
    """A Link has identified itself to the Cloud.

    Answer with `welcome` or `refuse`; `welcome` demands that it is `proved`.
    """

    hello: Hello
    proved: bool


class HelloAccepted(NamedTuple):
    """The session is open; the other fields are what the peer announced."""

    welcome: Welcome
    peer_channels: int
    peer_budget: int
    peer_capabilities: tuple[str, ...]


class Refused(NamedTuple):
    """The hello was refused; the connection ends after this."""

    refuse: Refuse


HelloEvent = HelloReceived | HelloAccepted | Refused


def proof_message(nonce: bytes, code: str, key: bytes) -> bytes:
    """Return what a Link signs (wire §3)."""
    return PROOF_CONTEXT + nonce + hashlib.sha256(code.encode()).digest() + key


class _Hello:
    table: Mapping[tuple[HelloState, HelloInput], HelloState]
    opens_first: int
    """The first channel number of this side (wire §2)."""

    def __init__(self, state: HelloState, *, channels: int) -> None:
        self.state = state
        self.channels = channels
        self.outbox: deque[Control] = deque()  # at most two messages in a hello
        self._step_by = self._whole_by = 0.0

    def start(self, now: float) -> None:
        """Start the deadlines."""
        self._step_by, self._whole_by = now + STEP_SECONDS, now + HELLO_SECONDS

    def deadline(self) -> float | None:
        """Return when `time_out` is due; None once the hello has ended."""
        ended = self.state in (HelloState.ACCEPTED, HelloState.REFUSED, HelloState.FAILED)
        return None if ended else min(self._step_by, self._whole_by)

    def time_out(self) -> None:
        """Fail the hello: its deadline has passed."""
        waited = self.state.value
        self._step(HelloInput.TIME_OUT)
        raise WireError(
            f"the hello exceeded its deadline; state: {waited} (wire §3)", CloseCode.DEADLINE
        )

    def receive(self, message: Control, now: float) -> HelloEvent | None:
        """Process a CONTROL message; one that is not allowed in this state is a violation."""
        what = _RECEIVED.get(type(message))
        if what is None:
            raise WireError(f"{type(message).__name__.lower()} before welcome (wire §3)")
        self._step(what)
        self._step_by = now + STEP_SECONDS
        return self._take(message)

    def _take(self, message: Control) -> HelloEvent | None:
        raise NotImplementedError

    def _step(self, what: HelloInput) -> None:
        state = self.table.get((self.state, what))
        if state is None:
            text = f"{what.value} in state: {self.state.value}"
            raise (
                LocalProtocolError(text)
                if what.name.startswith("SEND")
                else WireError(f"{text} (wire §3)")
            )
        self.state = state


class LinkHello(_Hello):
    """The Link's side: answers the challenge by itself, then reports HelloAccepted or Refused."""

    table = LINK_HELLO_TABLE
    opens_first = 1

    def __init__(
        self,
        *,
        release: str,
        capabilities: tuple[str, ...],
        code: str,
        key: bytes,
        sign: Sign,
        channels: int = DEFAULT_CHANNELS,
    ) -> None:
        super().__init__(HelloState.EXPECT_CHALLENGE, channels=channels)
        self._release, self._capabilities = release, capabilities
        self._version = HIGHEST_VERSION
        self._code, self._key, self._sign = code, key, sign

    def _take(self, message: Control) -> HelloEvent | None:
        match message:
            case Challenge():
                self.outbox.append(self._answer(message))
                return None
            case Welcome():
                if message.version != self._version:
                    raise WireError(
                        f"welcome to version {message.version}, which was not offered (wire §3)"
                    )
                return HelloAccepted(
                    message, message.channels, message.budget, message.capabilities
                )
            case Refuse():
                return Refused(message)
        raise AssertionError(message)

    def _answer(self, challenge: Challenge) -> Hello:
        """Return the hello with the highest version in common, or this Link's highest if none is.

        The Cloud's refusal then names the range.
        """
        lowest, highest = challenge.versions
        common = min(highest, HIGHEST_VERSION)
        if common >= max(lowest, LOWEST_VERSION):
            self._version = common
        return Hello(
            version=self._version,
            release=self._release,
            capabilities=self._capabilities,
            code=self._code,
            key=self._key,
            proof=self._sign(proof_message(challenge.nonce, self._code, self._key)),
            budget=START_BUDGET,
            channels=self.channels,
        )


class CloudHello(_Hello):
    """The Cloud's side.

    Challenges, checks version and proof, reports HelloReceived, and waits for `welcome` or
    `refuse`.
    """

    table = CLOUD_HELLO_TABLE
    opens_first = 2

    def __init__(
        self,
        *,
        capabilities: tuple[str, ...],
        nonce: bytes,
        verify: Verify,
        required: tuple[str, ...] = (),
        channels: int = DEFAULT_CHANNELS,
    ) -> None:
        super().__init__(HelloState.EXPECT_HELLO, channels=channels)
        self._capabilities, self._required = capabilities, required
        self._nonce, self._verify = nonce, verify
        self._hello: Hello | None = None
        self._proved = False

    def start(self, now: float) -> None:
        super().start(now)
        self.outbox.append(Challenge(versions=(LOWEST_VERSION, HIGHEST_VERSION), nonce=self._nonce))

    def _take(self, message: Control) -> HelloEvent | None:
        assert isinstance(message, Hello)
        if not LOWEST_VERSION <= message.version <= HIGHEST_VERSION:
            supported = f"the Cloud supports versions {LOWEST_VERSION} to {HIGHEST_VERSION}"
            return self.refuse(RefuseReason.VERSION, supported, retry_after=OUTDATED_WAIT)
        missing = [name for name in self._required if name not in message.capabilities]
        if missing:
            return self.refuse(RefuseReason.CAPABILITY, missing[0], retry_after=OUTDATED_WAIT)
        self._hello = message
        self._proved = self._verify(
            message.key, message.proof, proof_message(self._nonce, message.code, message.key)
        )
        return HelloReceived(message, self._proved)

    def welcome(
        self, *, session: bytes, epoch: int, time: float, echo_after: float, dead_after: float
    ) -> HelloAccepted:
        """Accept the Link; `session` is 16 random bytes, `time` is UTC seconds."""
        if self._hello is None or not self._proved:
            raise LocalProtocolError("welcome to a Link without a valid proof")
        self._step(HelloInput.SEND_WELCOME)
        answer = Welcome(
            version=self._hello.version,
            session=session,
            epoch=epoch,
            capabilities=self._capabilities,
            budget=START_BUDGET,
            channels=self.channels,
            time=time,
            echo_after=echo_after,
            dead_after=dead_after,
        )
        self.outbox.append(answer)
        hello = self._hello
        return HelloAccepted(answer, hello.channels, hello.budget, hello.capabilities)

    def refuse(self, reason: RefuseReason, detail: str, *, retry_after: float) -> Refused:
        """Refuse the Link."""
        self._step(HelloInput.SEND_REFUSE)
        answer = Refuse(reason=reason, detail=detail, retry_after=retry_after)
        self.outbox.append(answer)
        return Refused(answer)
