"""Limits and deadlines of every request, on an application of one line."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from swallowtail.cloud.web.guard import MAX_BODY, MAX_CONFIGURATION_BODY, Guard


class Exchange:
    """One request to a guarded application, and what it answered."""

    def __init__(self, body: Callable[[], AsyncIterator[Message]], path: str = "/x") -> None:
        self.scope: Scope = {"type": "http", "method": "PUT", "path": path, "headers": []}
        self.sent: list[Message] = []
        self._body = body()

    async def receive(self) -> Message:
        return await anext(self._body)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def problem(self) -> Any:
        return json.loads(b"".join(message.get("body", b"") for message in self.sent))


async def reads_all(_: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        continue
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


def pieces(*sizes: int) -> Callable[[], AsyncIterator[Message]]:
    async def body() -> AsyncIterator[Message]:
        for size in sizes:
            yield {"type": "http.request", "body": bytes(size), "more_body": True}
        yield {"type": "http.request", "body": b"", "more_body": False}

    return body


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/x", MAX_BODY, 200),
        ("/x", MAX_BODY + 1, 413),
        ("/api/v1/links/1/configuration", MAX_BODY + 1, 200),
        ("/api/v1/links/1/configuration", MAX_CONFIGURATION_BODY + 1, 413),
    ],
)
async def test_a_body_has_a_limit(path: str, size: int, status: int) -> None:
    exchange = Exchange(pieces(size // 2, size - size // 2), path)
    await Guard(reads_all)(exchange.scope, exchange.receive, exchange.send)
    assert exchange.status == status


async def test_a_body_that_dribbles_has_a_deadline() -> None:
    async def endless() -> AsyncIterator[Message]:
        while True:
            yield {"type": "http.request", "body": b"x", "more_body": True}
            await asyncio.get_running_loop().create_future()

    exchange = Exchange(endless)
    await Guard(reads_all, body_deadline=0.01)(exchange.scope, exchange.receive, exchange.send)
    assert exchange.status == 408
    assert exchange.problem["code"] == "deadline"


async def test_an_answer_that_does_not_begin_has_a_deadline() -> None:
    async def stuck(_: Scope, __: Receive, ___: Send) -> None:
        await asyncio.get_running_loop().create_future()

    exchange = Exchange(pieces())
    await Guard(stuck, answer_deadline=0.01)(exchange.scope, exchange.receive, exchange.send)
    assert exchange.status == 503


async def test_an_answer_that_has_begun_may_take_its_time() -> None:
    async def slow(_: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        loop = asyncio.get_running_loop()
        later = loop.create_future()
        loop.call_later(0.05, later.set_result, None)
        await later
        await send({"type": "http.response.body", "body": b"done"})

    exchange = Exchange(pieces())
    await Guard(slow, answer_deadline=0.01)(exchange.scope, exchange.receive, exchange.send)
    assert exchange.sent[-1]["body"] == b"done"
