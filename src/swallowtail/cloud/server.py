"""The program `cloud serve`: one process, one HTTPS port, over the composition of a Cloud."""

import asyncio
import datetime as dt
import gc
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import structlog
import uvloop
from fastapi import FastAPI
from starlette.routing import WebSocketRoute

from swallowtail import __version__
from swallowtail.cloud.access_control.tokens import OperatorTokenAdministration
from swallowtail.cloud.composition.adapters import open_adapters
from swallowtail.cloud.composition.assembly import AssembledCloud, assemble
from swallowtail.cloud.composition.environment import Environment
from swallowtail.cloud.composition.settings import EVERYWHERE, ServeError, ServeSettings
from swallowtail.cloud.data_folder.certificates import (
    ServerFiles,
    ensure_certificate,
    names_of,
    server_context,
)
from swallowtail.cloud.data_folder.data_folder import DataFolder, DataFolderError
from swallowtail.cloud.http.uvicorn_server import BACKLOG, Server, server_of
from swallowtail.cloud.links.link_endpoint import PATH, LinkSessions
from swallowtail.cloud.metrics.process import measure_lag
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.processes.probe import probe, report
from swallowtail.cloud.processes.sandbox import SandboxError
from swallowtail.cloud.secrets.sealing import SealError
from swallowtail.cloud.web.app import build
from swallowtail.cloud.web.hosts import HostNames
from swallowtail.cloud.web.rate_limits import RequestLimits
from swallowtail.cloud.web.use_cases import UseCases
from swallowtail.runtime.tasks import Tasks

log = structlog.get_logger()

FATAL_EXIT: Final = 70
SWITCH_INTERVAL: Final = 0.0005
"""Seconds after which a thread that requires the interpreter gets it from the loop.

A store makes a dozen calls of the disk, and after each its thread waits for that: with Python's 5
ms a busy loop halves the stores per second.
"""
RENEW_EVERY: Final = 600.0
Announce = Callable[[dict[str, str]], None]


def run(settings: ServeSettings, *, announce: Announce) -> None:
    """Serve until SIGINT or SIGTERM; raises ServeError.

    `announce` is called once, when the port listens.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serve(settings, announce=announce))
        except (DataFolderError, SealError, StorageUnavailableError, SandboxError) as error:
            raise ServeError(str(error)) from error


async def serve(
    settings: ServeSettings, *, announce: Announce, environment: Environment | None = None
) -> None:
    """Open the Cloud, serve until it is asked to stop, and close it."""
    folder = DataFolder(settings.data, settings.master_key)
    try:
        report(unprotected := await asyncio.to_thread(probe))
        context, certificate, facts = _tls(settings, folder)
        listening = _listen(settings)
        async with _cloud(folder, settings, environment or Environment()) as (cloud, tasks):
            facts |= {"release": __version__, "url": _url(settings, listening)}
            facts |= await _bootstrap(cloud.use_cases)
            hosts = HostNames(public=settings.public, allowed=settings.allowed)
            app = _app(cloud, settings, hosts)
            app.state.unprotected = unprotected
            server = server_of(app, context)
            _stop_on_signals(server, cloud.sessions, tasks)
            tasks.spawn(measure_lag(), name="lag")

            def serving(path: Path) -> None:
                cloud.certificates.register(path, own=settings.certificate is None)
                hosts.register(_own_names(settings, path))

            serving(certificate)
            tasks.spawn(_renew(context, settings, folder, serving), name="certificate")
            gc.collect()
            gc.freeze()  # what is loaded now stays: a full collection held the loop for 60 ms
            announce(facts)
            port = listening.getsockname()[1]
            log.info("Cloud started", release=__version__, host=settings.host, port=port)
            await server.serve([listening])
        log.info("Cloud stopped")
    finally:
        folder.close()


@asynccontextmanager
async def _cloud(
    folder: DataFolder, settings: ServeSettings, environment: Environment
) -> AsyncIterator[tuple[AssembledCloud, Tasks]]:
    """Open the adapters, assemble the Cloud over them, and run what runs beside the requests."""
    async with AsyncExitStack() as stack:
        adapters = await stack.enter_async_context(
            open_adapters(folder, settings, environment, on_fatal=_fatal)
        )
        cloud = assemble(adapters, environment)
        await cloud.open()
        stack.push_async_callback(cloud.close)
        tasks = await stack.enter_async_context(Tasks("cloud"))
        cloud.start(tasks)
        yield cloud, tasks


def _app(cloud: AssembledCloud, settings: ServeSettings, hosts: HostNames) -> FastAPI:
    limits = RequestLimits(cloud.environment.monotonic, settings.rates)
    beside = [WebSocketRoute(PATH, cloud.sessions)]
    return build(cloud.use_cases, beside, hosts=hosts, limits=limits, proxies=settings.proxies)


def _certificate(settings: ServeSettings, folder: DataFolder) -> ServerFiles:
    """Return the server's files; without --cert they are created, or renewed, by the private CA."""
    if settings.certificate is not None and settings.key is not None:
        return ServerFiles(settings.certificate, settings.key)
    names = {"localhost", "127.0.0.1", "::1", socket.gethostname()} | ({settings.host} - EVERYWHERE)
    names |= {settings.public.name} if settings.public else set()
    return ensure_certificate(folder.path, names, dt.datetime.now(dt.UTC), folder.seal)


def _own_names(settings: ServeSettings, certificate: Path) -> set[str]:
    """Return the hosts that a request may name because the Cloud is served under them."""
    try:
        names = set(names_of(certificate))
    except (OSError, ValueError):  # the watch of the same file has logged it
        names = set()
    return names | ({settings.host} - EVERYWHERE)


def _tls(
    settings: ServeSettings, folder: DataFolder
) -> tuple[ssl.SSLContext, Path, dict[str, str]]:
    files = _certificate(settings, folder)
    try:
        context = server_context(*files)
    except (OSError, ssl.SSLError) as error:
        where = f"{files.certificate} with {files.key}"
        raise ServeError(
            f"cannot use {where}: {error}; both are PEM and belong together"
        ) from error
    return (
        context,
        files.certificate,
        {} if settings.certificate else {"ca": str(folder.path / "ca.pem")},
    )


async def _renew(
    context: ssl.SSLContext,
    settings: ServeSettings,
    folder: DataFolder,
    serving: Callable[[Path], None],
) -> None:
    """Load the certificate again now and then, for the handshakes that come.

    It may have been renewed, here or by who owns it.
    """
    while True:
        await asyncio.sleep(RENEW_EVERY)
        try:
            files = _certificate(settings, folder)
            files.load(context)
        except (OSError, ssl.SSLError, SealError) as error:
            log.warning(
                "certificate not reloaded",
                error=error,
            )
        else:
            serving(files.certificate)


def _listen(settings: ServeSettings) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        return socket.create_server(
            address[:2],
            family=family,
            backlog=BACKLOG,
            dualstack_ipv6=family == socket.AF_INET6 and settings.host == "::",
        )
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise ServeError(
            f"cannot listen on {where}: {error.strerror or error}; choose another with --listen"
        ) from error


def _url(settings: ServeSettings, listening: socket.socket) -> str:
    host = "localhost" if settings.host in EVERYWHERE else settings.host
    return f"https://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"


async def _bootstrap(use_cases: UseCases) -> dict[str, str]:
    """Return an operator's token where none can be used; it is printed and kept nowhere."""
    secret = await use_cases.get(OperatorTokenAdministration).bootstrap()
    return {} if secret is None else {"token": secret}


def _stop_on_signals(server: Server, sessions: LinkSessions, tasks: Tasks) -> None:
    """Stop on a signal: the Links first, which reconnect later, then the port."""

    async def stop() -> None:
        await sessions.drain()
        server.should_exit = True

    def responses() -> None:
        log.info("Cloud stop requested")
        tasks.spawn(stop(), name="stop")
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)  # a second signal does not wait

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, responses)


def _fatal(error: StorageUnavailableError) -> None:
    """Handle a disk that failed under a write that was to be durable.

    What the kernel still holds cannot be trusted.
    """
    log.critical(
        "disk failed",
        error=error.__cause__ or error,
    )
    os._exit(FATAL_EXIT)
