"""`link run` as a process: settings checked before anything starts, signals, and the Agent on the machine's own network."""

import asyncio
import gc
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import structlog

from swallowtail import __version__
from swallowtail.link.agent import Agent, Facts, World
from swallowtail.link.cloud import SettingError, WebSocketUplink, link_url, proxy_url, read_code, tls_context
from swallowtail.link.key import DeviceKeyError, KeyFile
from swallowtail.link.policy import InvalidPolicyError, load
from swallowtail.runtime import log as logs
from swallowtail.runtime.network import AsyncioNetwork

log = structlog.get_logger()

__all__ = ["SettingError", "Settings", "run_link"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The flags of `link run`."""

    cloud: str
    code_file: Path
    ca: Path | None
    proxy: str | None
    policy: Path | None
    state: Path

    def check(self) -> tuple[Facts, WebSocketUplink]:
        """Read every file that a flag names; raises SettingError that names the flag and the remedy."""
        uplink = WebSocketUplink(
            link_url(self.cloud), tls_context(self.ca), proxy_url(self.proxy), f"swallowtail-link/{__version__}"
        )
        code = read_code(self.code_file)
        try:
            policy = load(self.policy)
            key = KeyFile(self.state).load()
        except (InvalidPolicyError, DeviceKeyError) as error:
            raise SettingError(str(error)) from error
        return Facts(code, key, policy, __version__, _platform(), socket.gethostname()), uplink


def run_link(settings: Settings) -> bool:
    """Run Link until it is told to stop: True when it stopped in good order, False when a bug ended it. Raises SettingError."""
    logs.configure()
    logs.take_crashes()
    facts, uplink = settings.check()
    return asyncio.run(_run(World(AsyncioNetwork(), uplink), facts))


async def _run(world: World, facts: Facts) -> bool:
    agent = Agent(world, facts)
    _stop_on_signals(agent)
    log.info("Link starts", release=facts.release, pid=os.getpid(), reason=facts.policy.source)
    gc.collect()
    gc.freeze()  # what is loaded now stays: later collections need not look at it
    try:
        await agent.run()
    except Exception as error:
        log.critical("Link ends by a bug; its supervisor should start it anew", exc_info=error)
        return False
    log.info("Link has stopped")
    return True


def _stop_on_signals(agent: Agent) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(agent.stop))


def _platform() -> str:
    machine = os.uname().machine if hasattr(os, "uname") else os.environ.get("PROCESSOR_ARCHITECTURE", "")
    return f"{sys.platform} {machine}, Python {sys.version.split()[0]}"
