"""`swallowtail cloud reindex`: a client of the REST API."""

import json
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import click

from swallowtail.cli.api_client import RestClient, RestError
from swallowtail.cli.options import JSON, cloud_client, read_text

POLL_EVERY: Final = 2.0


@click.command()
@cloud_client
@click.option(
    "--study",
    metavar="UID",
    help="Study Instance UID; default: every instance of the organisation.",
)
@click.option("--wait", is_flag=True, help="Return when no index job waits any more.")
@JSON
def reindex(
    url: str, token_file: Path, ca: Path | None, study: str | None, *, wait: bool, as_json: bool
) -> None:
    """Index stored instances again, with the token of an administrator or integrator.

    Indexed instances stay visible meanwhile. Stores have priority, so on a busy Cloud the index
    takes longer.
    """
    try:
        with closing(RestClient(url, read_text(token_file).strip(), ca)) as client:
            queued = client.call("POST", "/index-jobs", {"study": study})["queued"]
            counts = _wait(client) if wait else client.call("GET", "/index-jobs")
    except RestError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({"queued": queued, **counts}))
    else:
        click.echo(
            f"{queued} instances queued, {counts['waiting']} waiting, {counts['quarantined']}"
            " quarantined"
        )


def _wait(client: RestClient) -> dict[str, int]:
    """Return the counts of the index when no job waits; print progress on a terminal."""
    while True:
        counts: dict[str, int] = client.call("GET", "/index-jobs")
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{counts['waiting']} waiting", err=True, nl=not counts["waiting"])
        if not counts["waiting"]:
            return counts
        time.sleep(POLL_EVERY)
