"""Link's side of store out on the machine's network, and the Cloud's on a wire in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from swallowtail.calls.config import Configuration, Destination
from swallowtail.calls.deliver import DELIVER
from swallowtail.calls.diagnostics import CHECK
from swallowtail.link.policy import parse
from swallowtail.link.scu.connecting import Reach
from swallowtail.link.scu.destinations import Destinations
from swallowtail.link.state import LinkState
from swallowtail.runtime.network import AsyncioNetwork, resolve
from swallowtail.runtime.tasks import Tasks
from swallowtail.wire.net import Session
from tests.unit.wire.test_net import joined

POLICY = parse(b'[outbound]\nallow=[{network="127.0.0.0/8"}]', "policy.toml")


@dataclass
class Outbound:
    """What `archive.deliver` needs of a stage."""

    cloud: Any
    tasks: Tasks
    destinations: Destinations


def destination(port: int, called: str = "ANY-SCP", **more: Any) -> Destination:
    """Give a destination on loopback."""
    return Destination(name="pacs1", host="127.0.0.1", port=port, ae_title=called, **more)


@contextlib.asynccontextmanager
async def outbound(*destinations: Destination) -> AsyncIterator[Outbound]:
    """Serve `deliver` and `check` for these destinations."""
    async with joined() as (link, cloud), Tasks("outbound") as tasks:
        site = LinkState(session=lambda: link, random=bytes, wall=lambda: 0.0, version=1)
        reach = Reach(AsyncioNetwork(), resolve, POLICY, lambda: (), tasks)
        served = Destinations(reach, site, tasks, lambda: None)
        served.apply(Configuration(destinations=destinations))
        tasks.spawn(_serve(link, served, tasks), name="serve")
        try:
            yield Outbound(SimpleNamespace(sessions=[cloud]), tasks, served)
        finally:
            await served.drain(2.0)


async def _serve(link: Session, served: Destinations, tasks: Tasks) -> None:
    calls: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
        DELIVER: served.deliver,
        CHECK: served.check,
    }
    async for channel in link.opened():
        tasks.spawn(calls[channel.opening.call](channel), name=channel.opening.call)


def run(scene: Callable[[Outbound], Coroutine[Any, Any, None]], *destinations: Destination) -> None:
    """Play a scene with these destinations, a minute at most."""

    async def main() -> None:
        async with asyncio.timeout(60), outbound(*destinations) as stage:
            await scene(stage)

    asyncio.run(main())
