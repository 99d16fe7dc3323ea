"""The composition root of an embedded Cloud: one folder, one process, one HTTPS port.

The only file that names every adapter.
"""

import asyncio
import datetime as dt
import gc
import os
import secrets
import signal
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
import uvloop
from starlette.routing import WebSocketRoute

from swallowtail import __version__
from swallowtail.cloud.alarms.certificate_expiring import CertificateWatch
from swallowtail.cloud.alarms.periodic import rounds
from swallowtail.cloud.auditing.tally import AuditTally
from swallowtail.cloud.blobs.disk import OsDisk
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.workers import ThreadWorkers
from swallowtail.cloud.bus.in_process import InProcessBus
from swallowtail.cloud.composition.audit import AuditParts
from swallowtail.cloud.data_folder.certificates import (
    ServerFiles,
    ensure_certificate,
    names_of,
    server_context,
)
from swallowtail.cloud.data_folder.data_folder import DataFolder, DataFolderError
from swallowtail.cloud.dispatch.delivery_creation import Router
from swallowtail.cloud.dispatch.queues import Queues
from swallowtail.cloud.dispatch.rule_editing import Rulebook
from swallowtail.cloud.dispatch.runner import Dispatch, topic
from swallowtail.cloud.dispatch.sites import SiteBook
from swallowtail.cloud.dispatch.watch import QueueWatch
from swallowtail.cloud.http.uvicorn_server import BACKLOG, Server, server_of
from swallowtail.cloud.index.indexer import TOPIC, Indexer
from swallowtail.cloud.index.parser_pool import WorkerPool
from swallowtail.cloud.index.reindexing import Reindexing
from swallowtail.cloud.ingest.alarm import StorageAlarm
from swallowtail.cloud.ingest.space import DiskWatch
from swallowtail.cloud.ingest.store_instance import Ingest
from swallowtail.cloud.links.absences import Absences
from swallowtail.cloud.links.authentication import Gate
from swallowtail.cloud.links.call_table import Calls
from swallowtail.cloud.links.desired import Desired
from swallowtail.cloud.links.link_endpoint import PATH, LinkSessions
from swallowtail.cloud.links.report_call import Reports
from swallowtail.cloud.links.store_call import Stores
from swallowtail.cloud.links.unknown import UnknownDevices
from swallowtail.cloud.metrics.process import StoreMeter, measure_lag
from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.credentials import KeyedHash, mint_token
from swallowtail.cloud.model.identifiers import new_id
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.ports.blobs import Blobs
from swallowtail.cloud.model.ports.bus import Bus
from swallowtail.cloud.model.tenancy import OPERATOR, ApiToken, Role, TokenSearch, TokenState
from swallowtail.cloud.model.transcoding import Transcoder
from swallowtail.cloud.pixels.service import Pixels
from swallowtail.cloud.processes.probe import probe, report
from swallowtail.cloud.processes.sandbox import SandboxError
from swallowtail.cloud.query.parts import Frames
from swallowtail.cloud.query.search import Query
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.records.sqlite import SqliteDatabase
from swallowtail.cloud.retention.clock import SteadyClock
from swallowtail.cloud.retention.deleting import Deleting
from swallowtail.cloud.retention.purge import Purge
from swallowtail.cloud.retention.sweep import SWEEP_EVERY, BlobSweep
from swallowtail.cloud.secrets.sealing import SealError
from swallowtail.cloud.web.access import Services
from swallowtail.cloud.web.app import build
from swallowtail.cloud.web.hosts import (
    Host,
    HostNames,
    InvalidAddressError,
    parse_allowed,
    parse_public_url,
)
from swallowtail.cloud.web.proxies import Network, parse_proxies
from swallowtail.cloud.web.rate_limits import DEFAULT_RATES, TOKEN_RATE, Rates, RequestLimits
from swallowtail.runtime.tasks import Tasks

log = structlog.get_logger()

FATAL_EXIT: Final = 70
SWITCH_INTERVAL: Final = 0.0005
"""Seconds after which a thread that wants the interpreter gets it from the loop.

A store makes a dozen calls of the disk, and after each its thread waits for that: with Python's 5
ms a busy loop halves the stores per second.
"""
RENEW_EVERY: Final = 600.0
EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - what stands for every address
Announce = Callable[[dict[str, str]], None]


class ServeError(Exception):
    """The Cloud cannot serve; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What `cloud serve` was told."""

    data: Path
    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None
    audit_heads: Path | None = None
    public: Host | None = None
    allowed: tuple[str, ...] = ()
    rates: Rates = DEFAULT_RATES
    proxies: tuple[Network, ...] = ()
    master_key: Path | None = None
    audit_networks: tuple[Network, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        data: Path,
        listen: str,
        cert: Path | None = None,
        key: Path | None = None,
        audit_heads: Path | None = None,
        master_key: Path | None = None,
        public_url: str | None = None,
        allowed_hosts: Sequence[str] = (),
        token_rate: float = TOKEN_RATE.per_second,
        trusted_proxies: Sequence[str] = (),
        audit_networks: Sequence[str] = (),
    ) -> "Settings":
        """Check the flags; raises ServeError."""
        host, colon, port = listen.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
            raise ServeError(
                f"--listen {listen!r} is no HOST:PORT; one is 127.0.0.1:8443, or [::]:8443 for all"
                " addresses"
            )
        if (cert is None) != (key is None):
            raise ServeError(
                "--cert and --key belong together; give both, or neither for a private CA"
            )
        try:
            public = parse_public_url(public_url) if public_url else None
        except InvalidAddressError as error:
            raise ServeError(
                f"--public-url {public_url!r}: {error}; one is https://cloud.example:8443"
            ) from error
        try:
            allowed = tuple(map(parse_allowed, allowed_hosts))
        except InvalidAddressError as error:
            raise ServeError(f"--allowed-host {', '.join(allowed_hosts)}: {error}") from error
        try:
            proxies = parse_proxies(trusted_proxies)
        except ValueError as error:
            raise ServeError(
                f"--trusted-proxy: {error}; one is 10.0.0.5, or 10.0.0.0/24"
            ) from error
        try:
            networks = parse_proxies(audit_networks)
        except ValueError as error:
            raise ServeError(f"--audit-network: {error}; one is 10.1.0.0/16") from error
        given = (public, allowed, Rates.of_tokens(token_rate), proxies)
        return cls(
            data.absolute(), host, int(port), cert, key, audit_heads, *given, master_key, networks
        )


@dataclass(frozen=True, slots=True)
class Assembled:
    """The use cases of one Cloud, wired."""

    services: Services
    sessions: LinkSessions
    router: Router


def run(settings: Settings, *, announce: Announce) -> None:
    """Serve until SIGINT or SIGTERM; raises ServeError.

    `announce` is called once, when the port listens.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serve(settings, announce=announce))
        except (DataFolderError, SealError, StorageUnavailableError, SandboxError) as error:
            raise ServeError(str(error)) from error


async def serve(settings: Settings, *, announce: Announce) -> None:
    """Put the Cloud together, serve, and take it apart again."""
    folder = DataFolder(settings.data, settings.master_key)
    try:
        report(unprotected := await asyncio.to_thread(probe))
        context, certificate, facts = _tls(settings, folder)
        listening = _listen(settings)
        async with _cloud(folder, settings) as (made, tasks):
            services, sessions = made.services, made.sessions
            facts |= {"release": __version__, "url": _url(settings, listening)}
            facts |= await _bootstrap(services)
            hosts = HostNames(public=settings.public, allowed=settings.allowed)
            limits = RequestLimits(time.monotonic, settings.rates)
            beside = [WebSocketRoute(PATH, sessions)]
            app = build(services, beside, hosts=hosts, limits=limits, proxies=settings.proxies)
            app.state.unprotected = unprotected
            server = server_of(app, context)
            _stop_on_signals(server, sessions, tasks)
            tasks.spawn(measure_lag(), name="lag")
            watch = CertificateWatch(
                own=settings.certificate is None,
                people=services.people,
                alarms=services.alarms,
                clock=services.clock,
            )

            def serving(path: Path) -> None:
                watch.serve(path)
                hosts.know(_own_names(settings, path))

            serving(certificate)
            tasks.spawn(_renew(context, settings, folder, serving), name="certificate")
            tasks.spawn(rounds("certificate", watch.look), name="expiry")
            gc.collect()
            gc.freeze()  # what is loaded now stays: a full collection held the loop for 60 ms
            announce(facts)
            log.info(
                "the Cloud serves",
                release=__version__,
                host=settings.host,
                port=listening.getsockname()[1],
            )
            await server.serve([listening])
        log.info("the Cloud has stopped")
    finally:
        folder.close()


@asynccontextmanager
async def _cloud(folder: DataFolder, settings: Settings) -> AsyncIterator[tuple[Assembled, Tasks]]:
    """Open the stores, wire everything to them, and keep the index up."""
    heads, networks = settings.audit_heads or folder.audit_heads, settings.audit_networks
    hashes = KeyedHash(
        folder.pepper()
    )  # before there is a database, beside which a new one would be refused
    async with AsyncExitStack() as stack:
        keyring = folder.audit_keyring()
        database = SqliteDatabase.open(folder.database, audit_keys=keyring.keys, on_fatal=_fatal)
        stack.push_async_callback(database.close)
        records, bus = Records(database), InProcessBus()
        audit = await AuditParts.open(
            records, keyring, seal=folder.seal, heads=heads, networks=networks
        )
        stack.push_async_callback(audit.end)
        workers = ThreadWorkers()
        stack.push_async_callback(workers.close)
        blobs = FolderBlobs(OsDisk(folder.path), workers, on_fatal=_fatal)
        await blobs.open()
        parsers, pixels = WorkerPool(blobs), Pixels(blobs, folder.pixels)
        stack.push_async_callback(parsers.close)
        stack.push_async_callback(pixels.close)
        made = assemble(records, blobs, bus, hashes, pixels, audit=audit)
        tasks = await stack.enter_async_context(Tasks("cloud"))
        indexer = Indexer(
            records.index_jobs, parsers, bus, clock=time.time, on_settled=made.router.wake
        )
        tasks.spawn(indexer.run(alone=True), name="index")
        tasks.spawn(made.router.run(), name="routing")
        audit.start(tasks)
        for kind, look in _looks(folder, records, made).items():
            tasks.spawn(rounds(kind, look), name=kind)
        tasks.spawn(rounds("sweep", _sweep(records, blobs).look, every=SWEEP_EVERY), name="sweep")
        yield made, tasks


def _sweep(records: Records, blobs: Blobs) -> BlobSweep:
    return BlobSweep(
        blobs,
        records.unreferenced_blobs,
        records.instances,
        records.inventory.tenants,
        clock=time.time,
        steady=SteadyClock(time.time, time.monotonic),
    )


def _looks(
    folder: DataFolder, records: Records, made: Assembled
) -> dict[str, Callable[[], Awaitable[None]]]:
    """Give what is looked at now and again, by what it is called in the log."""
    people, configuration, alarms, clock = (
        records.people,
        records.configuration,
        records.alarms,
        time.time,
    )
    sites = SiteBook(records.links, configuration)
    absences = Absences(
        people=people,
        links=records.links,
        configuration=configuration,
        alarms=alarms,
        sessions=made.sessions,
        clock=clock,
    )
    queues = QueueWatch(
        people=people, deliveries=records.deliveries, sites=sites, alarms=alarms, clock=clock
    )
    unknown = UnknownDevices(
        people=people, configuration=configuration, sites=sites, alarms=alarms, clock=clock
    )
    disk = DiskWatch(lambda: _usage(folder.path), people=people, alarms=alarms, clock=clock)
    return {
        "absences": absences.look,
        "queues": queues.look,
        "unknown": unknown.look,
        "disk": disk.look,
        "purge": made.services.purge.look,
    }


def _usage(path: Path) -> tuple[int, int]:
    """Give a disk's size, and what is free for us of it: root's reserve is not."""
    found = os.statvfs(path)
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize


def assemble(
    records: Records,
    blobs: Blobs,
    bus: Bus,
    hashes: KeyedHash,
    pixels: Pixels,
    *,
    audit: AuditParts,
) -> Assembled:
    """Wire use cases to stores; call it on the loop that will serve."""
    clock, links, configuration = time.time, records.links, records.configuration
    sites = SiteBook(links, configuration)
    router = Router(records.rules, sites, bus, clock=clock)
    ingest = Ingest(
        records.instances,
        blobs,
        clock=clock,
        meter=StoreMeter(),
        alarm=StorageAlarm(records.alarms, clock=clock),
        on_stored=lambda: bus.publish(TOPIC),
    )
    sessions = _sessions(
        records,
        blobs,
        bus,
        hashes,
        router=router,
        ingest=ingest,
        transcoder=pixels,
        tally=audit.tally,
    )
    query = Query(records.instances, blobs, records.audit, clock=clock)
    services = Services(
        people=records.people,
        tokens=records.tokens,
        links=links,
        configuration=configuration,
        instances=records.instances,
        query=query,
        frames=Frames(query, blobs, clock=clock),
        pixels=pixels,
        ingest=ingest,
        queues=Queues(
            deliveries=records.deliveries,
            instances=records.instances,
            links=links,
            sites=sites,
            bus=bus,
            clock=clock,
        ),
        retentions=records.retentions,
        deleting=_deleting(records, bus),
        purge=Purge(
            records.deletions,
            records.retentions,
            clock=clock,
            steady=SteadyClock(clock, time.monotonic),
        ),
        rulebook=Rulebook(records.rules, sites, records.archives, clock=clock),
        reindexing=Reindexing(records.index_jobs, records.inventory, bus, clock=clock),
        alarms=records.alarms,
        archives=records.archives,
        audit=records.audit,
        chains=audit.chains,
        tally=audit.tally,
        audit_exports=audit.exports,
        bus=bus,
        sessions=sessions,
        hashes=hashes,
        clock=clock,
        random=secrets.token_bytes,
    )
    return Assembled(services, sessions, router)


def _deleting(records: Records, bus: Bus) -> Deleting:
    return Deleting(
        records.deletions,
        records.people,
        clock=time.time,
        wake_link=lambda link: bus.publish(topic(link)),
        wake_index=lambda: bus.publish(TOPIC),
    )


def _sessions(
    records: Records,
    blobs: Blobs,
    bus: Bus,
    hashes: KeyedHash,
    *,
    router: Router,
    ingest: Ingest,
    transcoder: Transcoder,
    tally: AuditTally,
) -> LinkSessions:
    """Wire what serves the Links."""
    clock, links, configuration, alarms = (
        time.time,
        records.links,
        records.configuration,
        records.alarms,
    )
    reports = Reports(configuration, ended=router.ended, tally=tally)
    desired = Desired(
        links=links,
        configuration=configuration,
        alarms=alarms,
        bus=bus,
        reports=reports,
        clock=clock,
    )
    gate = Gate(links, hashes, clock)
    dispatch = Dispatch(
        deliveries=records.deliveries,
        instances=records.instances,
        blobs=blobs,
        configuration=configuration,
        alarms=alarms,
        bus=bus,
        clock=clock,
        transcoder=transcoder,
    )
    calls = Calls(Stores(ingest), reports)
    return LinkSessions(
        gate=gate, calls=calls, desired=desired, reports=reports, dispatch=dispatch, clock=clock
    )


def _certificate(settings: Settings, folder: DataFolder) -> ServerFiles:
    """Return the server's files; without --cert they are created, or renewed, by the private CA."""
    if settings.certificate is not None and settings.key is not None:
        return ServerFiles(settings.certificate, settings.key)
    names = {"localhost", "127.0.0.1", "::1", socket.gethostname()} | ({settings.host} - EVERYWHERE)
    names |= {settings.public.name} if settings.public else set()
    return ensure_certificate(folder.path, names, dt.datetime.now(dt.UTC), folder.seal)


def _own_names(settings: Settings, certificate: Path) -> set[str]:
    """Return the hosts that a request may name because the Cloud is served under them."""
    try:
        names = set(names_of(certificate))
    except (OSError, ValueError):  # the watch of the same file has logged it
        names = set()
    return names | ({settings.host} - EVERYWHERE)


def _tls(settings: Settings, folder: DataFolder) -> tuple[ssl.SSLContext, Path, dict[str, str]]:
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
    context: ssl.SSLContext, settings: Settings, folder: DataFolder, serving: Callable[[Path], None]
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
                "the certificate could not be loaded again; the old one is still served",
                error=error,
            )
        else:
            serving(files.certificate)


def _listen(settings: Settings) -> socket.socket:
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


def _url(settings: Settings, listening: socket.socket) -> str:
    host = "localhost" if settings.host in EVERYWHERE else settings.host
    return f"https://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"


async def _bootstrap(services: Services) -> dict[str, str]:
    """Make an operator's token where no good one is; what it gives is printed and kept nowhere."""
    now, usable = services.clock(), TokenSearch(state=TokenState.ACTIVE)
    if (await services.tokens.tokens(OPERATOR, usable, PageRequest(1), now=now)).items:
        return {}
    secret = mint_token()
    token = ApiToken(
        id=new_id(services.random), tenant=None, name="bootstrap", role=Role.OPERATOR, created=now
    )
    event = AuditEvent(
        event=EventId.APPLICATION_ACTIVITY,
        action=EventAction.CREATE,
        type="operator.bootstrap",
        actor="cloud serve",
        objects=(("token", token.id),),
    )
    await services.tokens.add(token, services.hashes.of_token(secret), now=now, event=event)
    return {"token": secret}


def _stop_on_signals(server: Server, sessions: LinkSessions, tasks: Tasks) -> None:
    """Links first: they are told to come again and finish what runs, then the port closes."""

    async def stop() -> None:
        await sessions.drain()
        server.should_exit = True

    def heard() -> None:
        log.info("the Cloud stops")
        tasks.spawn(stop(), name="stop")
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)  # a second signal does not wait

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, heard)


def _fatal(error: StorageUnavailableError) -> None:
    """The disk has failed under something that was promised to be durable.

    What the kernel still holds cannot be trusted.
    """
    log.critical(
        "the disk has failed; the Cloud stops at once, look at the disk and start it again",
        error=error.__cause__ or error,
    )
    os._exit(FATAL_EXIT)
