"""The command line. Each command imports what it needs when it runs, so that `link` never loads the Cloud."""

import click


@click.group()
@click.version_option(package_name="swallowtail")
def main() -> None:
    """Swallowtail connects a hospital's imaging and record systems to a cloud through one outbound encrypted WebSocket."""
