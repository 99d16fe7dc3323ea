"""Flags that several commands have."""

from typing import Final

import click

from swallowtail.runtime.log import LEVELS

LOG_LEVEL: Final = click.option(
    "--log-level",
    type=click.Choice(LEVELS),
    default="info",
    show_default=True,
    envvar="SWALLOWTAIL_LOG_LEVEL",
    help="How much the log says; patients are in none of it.",
)
