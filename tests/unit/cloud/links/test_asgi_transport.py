"""ASGI as a FrameTransport: what comes, what ends it, and that closing never fails."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message
from uvicorn.protocols.utils import ClientDisconnected

from swallowtail.cloud.links.asgi_transport import AsgiFrames
from swallowtail.wire.transport import TransportClosedError


class Socket:
    """An ASGI WebSocket that is a script: messages to receive, and what was sent."""

    def __init__(self, *incoming: dict[str, Any], broken: Exception | None = None) -> None:
        self.incoming, self.sent, self.broken = list(incoming), [], broken  # type: ignore[var-annotated]

    async def receive(self) -> Message:
        if not self.incoming:
            await asyncio.get_running_loop().create_future()
        return self.incoming.pop(0)

    async def send(self, message: Message) -> None:
        if self.broken is not None:
            raise self.broken
        self.sent.append(message)

    def frames(self) -> AsgiFrames:
        return AsgiFrames(self.receive, self.send, asyncio.get_running_loop())


async def test_binary_messages_come_and_go() -> None:
    socket = Socket({"type": "websocket.receive", "bytes": b"in"})
    frames = socket.frames()
    assert await frames.receive() == [b"in"]
    await frames.send([b"out"])
    assert socket.sent == [{"type": "websocket.send", "bytes": b"out"}]


async def test_a_text_message_is_a_violation() -> None:
    socket = Socket({"type": "websocket.receive", "text": "hello"})
    with pytest.raises(TransportClosedError) as closed:
        await socket.frames().receive()
    assert closed.value.code == 1002
    assert socket.sent == [
        {"type": "websocket.close", "code": 1002, "reason": "a text message (wire §1)"}
    ]


async def test_a_close_of_the_peer_is_told_again_and_again() -> None:
    frames = Socket({"type": "websocket.disconnect", "code": 4408, "reason": "silence"}).frames()
    for _ in range(2):
        with pytest.raises(TransportClosedError) as closed:
            await frames.receive()
        assert (closed.value.code, closed.value.text) == (4408, "silence")
    with pytest.raises(TransportClosedError):
        await frames.send([b"late"])


@pytest.mark.parametrize("error", [ClientDisconnected(), RuntimeError("after sending close")])
async def test_a_send_to_nobody_is_a_lost_connection_and_closing_it_is_quiet(
    error: Exception,
) -> None:
    frames = Socket(broken=error).frames()
    with pytest.raises(TransportClosedError) as closed:
        await frames.send([b"x"])
    assert closed.value.code == 1006
    await frames.close(1000, "")
    await Socket(broken=error).frames().close(1000, "")


@pytest.mark.parametrize(("code", "sent"), [(1000, 1000), (4409, 4409), (1006, 1000), (1005, 1000)])
async def test_a_close_tells_its_code_once_and_codes_that_are_never_sent_are_not(
    code: int, sent: int
) -> None:
    socket = Socket()
    frames = socket.frames()
    await frames.close(code, "é" * 100)
    await frames.close(1011, "again")
    (message,) = socket.sent
    assert message["code"] == sent
    assert message["reason"] == "é" * 61
