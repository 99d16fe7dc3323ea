"""`swallowtail link run`: the program that runs inside the hospital."""

import sys
from pathlib import Path
from typing import Any, Final

import click

DEFAULT_STATE: Final = Path("/var/lib/swallowtail")
BUG: Final = 3


@click.group()
def link() -> None:
    """Link: connects this hospital to its Cloud."""


@link.command()
@click.option("--cloud", required=True, envvar="SWALLOWTAIL_CLOUD", help="The Cloud's address, https://…")
@click.option("--code-file", required=True, type=click.Path(path_type=Path), envvar="SWALLOWTAIL_CODE_FILE", help="Holds the code.")
@click.option("--ca", type=click.Path(path_type=Path), envvar="SWALLOWTAIL_CA", help="PEM of the Cloud's authority.")
@click.option("--proxy", envvar="SWALLOWTAIL_PROXY", help="http://[user:password@]host:port")
@click.option(
    "--policy", type=click.Path(path_type=Path), envvar="SWALLOWTAIL_POLICY", help="Where Link may reach (docs/policy.md)."
)
@click.option("--state", type=click.Path(path_type=Path), envvar="SWALLOWTAIL_STATE", default=DEFAULT_STATE, show_default=True)
def run(**flags: Any) -> None:
    """Run Link until it is told to stop (SIGTERM, Ctrl-C)."""
    from swallowtail.link.program import SettingError, Settings, run_link

    try:
        stopped = run_link(Settings(**flags))
    except SettingError as error:
        raise click.UsageError(str(error)) from error
    sys.exit(0 if stopped else BUG)
