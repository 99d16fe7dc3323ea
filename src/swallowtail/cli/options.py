"""Flags that several commands have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from swallowtail.runtime.log import LEVELS

FILE: Final = click.Path(dir_okay=False, path_type=Path)
JSON: Final = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
)
MAX_TEXT: Final = 1024 * 1024

LOG_LEVEL: Final = click.option(
    "--log-level",
    type=click.Choice(LEVELS),
    default="info",
    show_default=True,
    envvar="SWALLOWTAIL_LOG_LEVEL",
    help="Level of the log. Libraries stay at info; the log has no patient data at any level.",
)


def cloud_client(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a command that calls the REST API: `url`, `token_file`, `ca`."""
    for option in (
        click.option(
            "--ca",
            type=FILE,
            envvar="SWALLOWTAIL_CA",
            help="Certificates to trust instead of the system's.",
        ),
        click.option(
            "--token-file",
            required=True,
            type=FILE,
            envvar="SWALLOWTAIL_TOKEN_FILE",
            help="File with an API token.",
        ),
        click.option(
            "--cloud",
            "url",
            required=True,
            envvar="SWALLOWTAIL_CLOUD",
            help="Address of the Cloud, like https://cloud.example:8443.",
        ),
    ):
        command = option(command)
    return command


def without_password(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:
    """Refuse an address with a password on the command line, where every user can read it."""
    source = context.get_parameter_source(str(parameter.name))
    if value and source is ParameterSource.COMMANDLINE and "@" in value:
        userinfo = value.partition("://")[2].rpartition("@")[0]
        if ":" in userinfo:
            raise click.BadParameter(
                f"a password on the command line can be read by every user; set"
                f" {parameter.envvar}, or name a password file in PGPASSFILE"
            )
    return value


def read_text(path: Path) -> str:
    """Return the text of a small file; raises ClickException."""
    try:
        if path.stat().st_size > MAX_TEXT:
            raise click.ClickException(f"{path} is longer than {MAX_TEXT} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(
            f"cannot read {path}: {getattr(error, 'strerror', None) or error}"
        ) from error


MASTER_KEY: Final = click.option(
    "--master-key",
    type=FILE,
    envvar="SWALLOWTAIL_MASTER_KEY",
    help="File of the master key; default: master.key in the data folder.",
)
