"""`link run` as a process.

Settings checked before anything starts, signals, and Link on the network of this machine.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from swallowtail import __version__
from swallowtail.link.agent import Agent, Facts, World
from swallowtail.link.cloud_address import (
    SettingError,
    WebSocketUplink,
    link_url,
    proxy_url,
    read_code,
    tls_context,
)
from swallowtail.link.core_dumps import disable_core_dumps
from swallowtail.link.device_key import DeviceKeyError, KeyFile
from swallowtail.link.open_files import raise_open_files
from swallowtail.link.policy import InvalidPolicyError, load
from swallowtail.runtime import log as logs
from swallowtail.runtime.network import AsyncioNetwork

log = structlog.get_logger()

DEFAULT_STATE: Final = "/var/lib/swallowtail"
PREFIX: Final = "SWALLOWTAIL_"
STOPPED: Final = 0
WRONG_SETTING: Final = 2
BUG: Final = 3


def environment(flags: Mapping[str, object]) -> dict[str, str]:
    """Return the environment variables of the flags: `--code-file` is SWALLOWTAIL_CODE_FILE."""
    return {PREFIX + name.upper(): str(value) for name, value in flags.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Settings:
    """The flags of `link run`."""

    cloud: str
    code_file: Path
    ca: Path | None
    proxy: str | None
    policy: Path | None
    state: Path
    log_level: str = "info"

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings from the environment; raises SettingError when one is missing."""
        given = {name: environ.get(PREFIX + name.upper()) or None for name in cls.__slots__}
        if (cloud := given["cloud"]) is None or (code_file := given["code_file"]) is None:
            raise SettingError(
                "--cloud and --code-file are needed (or SWALLOWTAIL_CLOUD and"
                " SWALLOWTAIL_CODE_FILE)"
            )
        ca, policy = (Path(path) if (path := given[name]) else None for name in ("ca", "policy"))
        if (level := given["log_level"] or "info") not in logs.LEVELS:
            raise SettingError(
                f"--log-level (SWALLOWTAIL_LOG_LEVEL) is one of {', '.join(logs.LEVELS)}, not"
                f" {level!r}"
            )
        return cls(
            cloud,
            Path(code_file),
            ca,
            given["proxy"],
            policy,
            Path(given["state"] or DEFAULT_STATE),
            level,
        )

    def check(self) -> tuple[Facts, WebSocketUplink]:
        """Read every file that a flag names.

        Raises SettingError that names the flag and the remedy.
        """
        uplink = WebSocketUplink(
            link_url(self.cloud),
            tls_context(self.ca),
            proxy_url(self.proxy),
            f"swallowtail-link/{__version__}",
        )
        code = read_code(self.code_file)
        try:
            policy = load(self.policy)
            key = KeyFile(self.state).load()
        except (InvalidPolicyError, DeviceKeyError) as error:
            raise SettingError(str(error)) from error
        return Facts(code, key, policy, __version__, _platform(), socket.gethostname()), uplink


def main() -> int:
    """Run Link with the settings of the environment until it stops; return the exit code."""
    logs.configure()
    logs.take_crashes()
    disable_core_dumps()
    raise_open_files()
    try:
        settings = Settings.of(os.environ)
        logs.configure(settings.log_level)
        facts, uplink = settings.check()
    except SettingError as error:
        sys.stderr.write(f"swallowtail link run: {error}\n")
        return WRONG_SETTING
    return STOPPED if asyncio.run(_run(World(AsyncioNetwork(), uplink), facts)) else BUG


async def _run(world: World, facts: Facts) -> bool:
    agent = Agent(world, facts)
    _stop_on_signals(agent)
    log.info("Link started", release=facts.release, pid=os.getpid(), reason=facts.policy.source)
    gc.collect()
    gc.freeze()  # what is loaded now stays: later collections skip it
    try:
        await agent.run()
    except Exception as error:
        log.critical("Link crashed", exc_info=error)
        return False
    log.info("Link stopped")
    return True


def _stop_on_signals(agent: Agent) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(agent.stop))


def _platform() -> str:
    machine = (
        os.uname().machine if hasattr(os, "uname") else os.environ.get("PROCESSOR_ARCHITECTURE", "")
    )
    return f"{sys.platform} {machine}, Python {sys.version.split()[0]}"
