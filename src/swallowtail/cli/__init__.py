"""The command line.

Each command imports what it needs when it runs, so that `link` never loads the Cloud.
"""

from importlib import import_module
from typing import Final

import click

COMMANDS: Final = {
    "cloud": "swallowtail.cli.cloud",
    "demo": "swallowtail.cli.demo",
    "link": "swallowtail.cli.link",
}
"""Name of a command and the module that holds it under the same name."""


class LazyGroup(click.Group):
    """A group that loads a command's module when the command is used.

    The list of all commands loads them all.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return sorted({*COMMANDS, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(COMMANDS[cmd_name]), cmd_name)
        return command


@click.group(cls=LazyGroup)
@click.version_option(package_name="swallowtail")
def main() -> None:
    """Connect a hospital's imaging and record systems to a cloud.

    Swallowtail uses one outbound encrypted WebSocket.
    """
