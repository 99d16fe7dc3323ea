"""`swallowtail demo`: Cloud, Link and a simulated hospital on one machine.

A story through every path; afterwards the programs keep running.
"""

import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from swallowtail.sim.story import Story


@click.command()
@click.option("--once", is_flag=True, help="End after the story: exit code 0 if all held, else 1.")
def demo(*, once: bool) -> None:
    """Run a hospital's day: store, find, fetch, send to the PACS, kill PACS and Link, recover.

    Keep running afterwards until Ctrl-C.
    """
    try:
        from swallowtail.sim.progress import progress
        from swallowtail.sim.story import Story
    except ImportError as error:
        raise click.ClickException(f"{error.name} is missing; install swallowtail[demo]") from error
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="swallowtail-demo-"))
    story, held, stopped = Story(folder), False, False
    try:
        started = time.monotonic()
        with progress([title for title, _ in story.steps]) as audience:
            held = story.run(audience)
        click.echo(
            f"\nstory: {time.monotonic() - started:.1f} s, {'all held' if held else 'FAILED'}"
        )
        if held and not once:
            _stay_up(story)
    except KeyboardInterrupt:
        stopped = True
        click.echo("\nstopping")
    finally:
        story.close()
        if held or stopped:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            click.echo(f"The programs' output and data are kept in {folder}")
    sys.exit(0 if held else 1)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _stay_up(story: "Story") -> None:
    site = story.site
    click.echo(f"""
The Cloud serves on    {site.url}
  its own CA is        {site.ca}
  administrator token  {site.token}
Link listens on        127.0.0.1:{site.port("imaging")}
  its AE title         {site.called_ae("imaging")}
  calling AE title     ULTRASOUND1
The PACS received      {story.pacs.received}, by a rule that sends all ultrasound there

  curl --cacert {site.ca} -H "Authorization: Bearer {site.token}" {site.url}/dicomweb/studies
  storescu -aet ULTRASOUND1 -aec {site.called_ae("imaging")} 127.0.0.1 {site.port("imaging")} FILE

Ctrl-C ends everything and removes {story.folder}""")
    while all(program.running for program in (site.cloud, site.link)):
        signal.sigtimedwait([], 1.0)
    ended = site.link if site.cloud.running else site.cloud
    click.echo(str(ended.failure(f"ended with {ended.exit_code}")), err=True)
