"""`swallowtail link run`: the program that runs inside the hospital."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import click

from swallowtail.cli.options import LOG_LEVEL

DEFAULT_STATE: Final = Path("/var/lib/swallowtail")


@click.group()
def link() -> None:
    """Run Link, which connects this hospital to its Cloud."""


@link.command()
@click.option(
    "--cloud", required=True, envvar="SWALLOWTAIL_CLOUD", help="The Cloud's address, https://…"
)
@click.option(
    "--code-file",
    required=True,
    type=click.Path(path_type=Path),
    envvar="SWALLOWTAIL_CODE_FILE",
    help="Holds the code.",
)
@click.option(
    "--ca",
    type=click.Path(path_type=Path),
    envvar="SWALLOWTAIL_CA",
    help="PEM of the Cloud's authority.",
)
@click.option("--proxy", envvar="SWALLOWTAIL_PROXY", help="http://[user:password@]host:port")
@click.option(
    "--policy",
    type=click.Path(path_type=Path),
    envvar="SWALLOWTAIL_POLICY",
    help="Where Link may reach (docs/policy.md).",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    envvar="SWALLOWTAIL_STATE",
    default=DEFAULT_STATE,
    show_default=True,
)
@LOG_LEVEL
def run(**flags: Any) -> None:
    """Run Link until SIGTERM or Ctrl-C."""
    from swallowtail.link.program import environment

    os.environ.update(environment(flags))
    command = [sys.executable, "-m", "swallowtail.link"]
    if sys.platform == "win32":  # where exec is a second process that nobody watches
        sys.exit(subprocess.call(command))  # noqa: S603 - our own module
    # the same process, without the command line's libraries in its memory
    os.execv(sys.executable, command)  # noqa: S606
