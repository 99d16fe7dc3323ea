"""The settings of `cloud serve`, from its flags or their environment variables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swallowtail.cloud.records.postgresql_server import (
    DatabaseServer,
    DatabaseUrlError,
    parse_url,
)
from swallowtail.cloud.web.hosts import (
    Host,
    InvalidAddressError,
    parse_allowed,
    parse_public_url,
)
from swallowtail.cloud.web.proxies import Network, parse_proxies
from swallowtail.cloud.web.rate_limits import DEFAULT_RATES, TOKEN_RATE, Rates

EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - what is for every address


class ServeError(Exception):
    """The Cloud cannot start; the message states the cause and the action."""


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """The settings of `cloud serve`."""

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
    database: DatabaseServer | None = None
    """None: SQLite in the data folder."""

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
        database_url: str | None = None,
        database_owner_url: str | None = None,
    ) -> "ServeSettings":
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
        database = _database(database_url, database_owner_url)
        given = (public, allowed, Rates.of_tokens(token_rate), proxies)
        return cls(
            data.absolute(), host, int(port), cert, key, audit_heads, *given, master_key, networks,
            database,
        )  # fmt: skip


def _database(url: str | None, owner: str | None) -> DatabaseServer | None:
    if url is None:
        if owner is not None:
            raise ServeError("--database-owner-url needs --database-url; give both or neither")
        return None
    try:
        return DatabaseServer(parse_url(url), None if owner is None else parse_url(owner))
    except DatabaseUrlError as error:
        raise ServeError(f"--database-url or --database-owner-url: {error}") from error
