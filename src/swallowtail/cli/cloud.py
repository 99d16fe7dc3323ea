"""`swallowtail cloud`: serve, and apply."""

import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from swallowtail.cli import operations, reindex
from swallowtail.cli.api_client import RestClient, RestError
from swallowtail.cli.apply import Application, Outcome
from swallowtail.cli.hospital import InvalidHospitalError, Step, read
from swallowtail.cli.options import (
    FILE,
    JSON,
    LOG_LEVEL,
    MASTER_KEY,
    cloud_client,
    read_text,
    without_password,
)


@click.group()
def cloud() -> None:
    """Run a Cloud, set one up, check it, back it up or restore it."""


for command in (
    operations.check,
    operations.backup,
    operations.restore,
    operations.reseal,
    reindex.reindex,
):
    cloud.add_command(command)


@cloud.command()
@click.argument("file", type=FILE)
@cloud_client
@JSON
@click.option("--dry-run", is_flag=True, help="State what would be done, and do nothing.")
def apply(
    file: Path, url: str, token_file: Path, ca: Path | None, *, as_json: bool, dry_run: bool
) -> None:
    """Make the Cloud look like FILE.

    Organisation, facilities, Links with listeners, devices and destinations, rules, tokens.

    Twice is the same as once. What FILE does not name is left alone; a list of a Link, and the
    rules, are taken as a whole where FILE declares one. A new Link's security code is shown once.
    """
    try:
        hospital = read(read_text(file))
    except InvalidHospitalError as error:
        raise click.ClickException(f"{file}: {error}") from error
    try:
        with closing(RestClient(url, read_text(token_file).strip(), ca)) as client:
            application = Application(client, hospital)
            steps = application.plan()
            if not as_json:
                _print_plan(steps, dry_run=dry_run)
            outcome = Outcome(steps=steps) if dry_run else application.run()
    except RestError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(outcome)))
    else:
        _print_secrets(outcome)


def _print_plan(steps: list[Step], *, dry_run: bool) -> None:
    for step in steps:
        click.echo(str(step))
    changes = sum(step.verb != "keep" for step in steps)
    click.echo(f"{changes or 'no'} changes" + (", nothing was done" if dry_run and changes else ""))


def _print_secrets(outcome: Outcome) -> None:
    for name, code in outcome.codes.items():
        click.echo(
            f"\nSecurity code of Link {name}, shown once, valid for its first machine within 14"
            f" days:\n  {code}"
        )
    for name, token in outcome.tokens.items():
        click.echo(f"\nAPI token {name}, shown once:\n  {token}")


@cloud.command()
@click.option(
    "--data",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    envvar="SWALLOWTAIL_DATA",
    help="Data folder.",
)
@click.option(
    "--listen",
    default="127.0.0.1:8443",
    show_default=True,
    envvar="SWALLOWTAIL_LISTEN",
    help="HOST:PORT; port 0 takes a free one.",
)
@click.option(
    "--cert",
    type=FILE,
    envvar="SWALLOWTAIL_CERT",
    help="Certificate chain, PEM. Without it the Cloud makes a private CA.",
)
@click.option("--key", type=FILE, envvar="SWALLOWTAIL_KEY", help="Private key of --cert, PEM.")
@click.option(
    "--database-url",
    envvar="SWALLOWTAIL_DATABASE_URL",
    callback=without_password,
    help=(
        "PostgreSQL database for the records, postgresql://ROLE@HOST/DATABASE. Default: SQLite in"
        " the data folder. A password belongs into the variable or into PGPASSFILE."
    ),
)
@click.option(
    "--database-owner-url",
    envvar="SWALLOWTAIL_DATABASE_OWNER_URL",
    callback=without_password,
    help="The same database as the owner of its tables, to create them or bring them up to date.",
)
@MASTER_KEY
@click.option(
    "--audit-heads",
    type=FILE,
    envvar="SWALLOWTAIL_AUDIT_HEADS",
    help="File for the heads of the audit, best on another machine's disk.",
)
@click.option(
    "--audit-network",
    "audit_networks",
    multiple=True,
    envvar="SWALLOWTAIL_AUDIT_NETWORK",
    help=(
        "Network that receivers of the audit may be in, CIDR; several are possible. Default: any"
        " but this machine and its link."
    ),
)
@click.option(
    "--public-url",
    envvar="SWALLOWTAIL_PUBLIC_URL",
    help=(
        "Address that clients use, like https://cloud.example:8443; links in answers are made"
        " of it."
    ),
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    envvar="SWALLOWTAIL_ALLOWED_HOST",
    help="Host name of a proxy that passes on its clients' Host; may be given several times.",
)
@click.option(
    "--token-rate",
    type=click.FloatRange(min=0.1, max=1e6),
    default=300.0,
    show_default=True,
    envvar="SWALLOWTAIL_TOKEN_RATE",
    help="Requests a second that one API token may send; bursts of half a minute's requests pass.",
)
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    envvar="SWALLOWTAIL_TRUSTED_PROXY",
    help="Address or network of a proxy whose X-Forwarded-For is read; may be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line once it listens.")
@LOG_LEVEL
def serve(*, as_json: bool, log_level: str, **settings: Any) -> None:
    """Serve a Cloud from one folder, and a database server if given.

    API, DICOMweb and Links on one HTTPS port.
    """
    try:
        from swallowtail.cloud.composition.settings import ServeError, ServeSettings
        from swallowtail.cloud.server import run
    except ImportError as error:
        raise click.ClickException(
            f"{error.name} is missing; install swallowtail[cloud]"
        ) from error
    from swallowtail.runtime import log

    log.configure(log_level)
    log.take_crashes()
    try:
        run(ServeSettings.of(**settings), announce=lambda facts: _announce(facts, as_json=as_json))
    except ServeError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


def _announce(facts: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts))
    else:
        click.echo(f"Swallowtail Cloud {facts['release']} listens on {facts['url']}")
        if "ca" in facts:
            click.echo(f"Its certificates are signed by its own CA: {facts['ca']}")
        if "token" in facts:
            click.echo(f"Operator's token, shown once: {facts['token']}")
            click.echo(
                "Keep it in a file that you alone can read, then describe the hospital"
                " (examples/hospital.toml) and run:"
            )
            trusted = f" --ca {facts['ca']}" if "ca" in facts else ""
            click.echo(
                f"  swallowtail cloud apply hospital.toml --cloud {facts['url']}{trusted}"
                " --token-file operator.token"
            )
    sys.stdout.flush()
