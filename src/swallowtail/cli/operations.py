"""`swallowtail cloud check | backup | restore | reseal`.

Commands on a data folder, without the REST API.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from swallowtail.cli.options import FILE, JSON, MASTER_KEY

if TYPE_CHECKING:
    from swallowtail.cloud.operations.backup import Copied, Manifest, Missing
    from swallowtail.cloud.operations.check import CheckReport, OrganisationReport

T = TypeVar("T")

FOLDER: Final = click.Path(file_okay=False, path_type=Path)
DATA: Final = click.option(
    "--data",
    required=True,
    type=FOLDER,
    envvar="SWALLOWTAIL_DATA",
    help="Data folder of the Cloud.",
)
PROGRESS_EVERY: Final = 1.0
FAULTS: Final = 1
"""Exit status when the command has done its work and found something wrong.

Click uses 2 for wrong usage.
"""
FAILED: Final = 3
LOWER_PRIORITY: Final = 10
"""Added to the nice value of a check, since the Cloud may be serving beside it."""


@click.command()
@DATA
@click.option("--quick", is_flag=True, help="Compare the length of each blob instead of its hash.")
@MASTER_KEY
@click.option(
    "--audit-heads", type=FILE, envvar="SWALLOWTAIL_AUDIT_HEADS", help="As for `cloud serve`."
)
@JSON
def check(
    data: Path, *, quick: bool, audit_heads: Path | None, master_key: Path | None, as_json: bool
) -> None:
    """Check the contents of the data folder. Its Cloud may be running.

    Compares every row with its blob (by hash), the index and the audit chains, and counts blobs
    without a row. Changes nothing. Exit status: 0 without a finding, 1 with findings, 3 when the
    check itself failed.
    """
    from swallowtail.cloud.operations.commands import check_folder

    os.nice(LOWER_PRIORITY)
    show = _Progress(lambda one: f"{one.organisation}: {one.blobs} blobs, {_size(one.bytes)}")
    report = _run(
        lambda: check_folder(
            data, rehash=not quick, progress=show, audit_heads=audit_heads, master_key=master_key
        )
    )
    show.end()
    if as_json:
        click.echo(_json(report))
    else:
        _print_report(report)
    sys.exit(FAULTS if report.faults else 0)


@click.command()
@DATA
@click.option(
    "--to",
    "target",
    required=True,
    type=FOLDER,
    help="Folder of the backup; every snapshot goes into the same one.",
)
@click.option(
    "--keep",
    type=click.IntRange(1),
    help="Remove older snapshots, and the blobs that none of the kept ones refers to.",
)
@click.option(
    "--without-master-key",
    is_flag=True,
    help="Leave master.key out. Keep a copy of it elsewhere: nothing works without it.",
)
@JSON
def backup(
    data: Path, target: Path, keep: int | None, *, without_master_key: bool, as_json: bool
) -> None:
    """Write a snapshot of the data folder to a backup. Its Cloud may be running.

    Blobs that the backup holds already are not copied again. Exit status: 0 for a complete
    snapshot, 1 when blobs were missing or damaged (they are listed, the rest is in the snapshot), 3
    when no snapshot was written.
    """
    from swallowtail.cloud.operations.backup import back_up, prune

    show = _Progress(_copied)
    name, manifest = _run(
        lambda: back_up(
            data, target, clock=time.time, with_master_key=not without_master_key, progress=show
        )
    )
    show.end()
    removed = _run(lambda: prune(target, keep=keep)) if keep and not manifest.missing else 0
    if as_json:
        click.echo(_json({"snapshot": name, "removed_blobs": removed, "manifest": manifest}))
    else:
        _print_backup(name, manifest, removed)
    sys.exit(FAULTS if manifest.missing else 0)


@click.command()
@click.argument("backup", type=FOLDER)
@DATA
@click.option("--snapshot", help="Name of the snapshot; default: the newest.")
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Restore although data sets are missing or damaged in the backup.",
)
@JSON
def restore(
    backup: Path, data: Path, snapshot: str | None, *, allow_missing: bool, as_json: bool
) -> None:
    """Restore a snapshot of BACKUP into an empty data folder, comparing the hash of every file.

    After an interruption, the same command continues. Exit status: 0 for a complete restore, 1 when
    data sets are missing in it, 3 when nothing can be served from the folder.
    """
    from swallowtail.cloud.operations.restore import lacks_master_key
    from swallowtail.cloud.operations.restore import restore as restore_snapshot

    show = _Progress(_copied)
    name, missing = _run(
        lambda: restore_snapshot(
            backup, data, snapshot=snapshot, allow_missing=allow_missing, progress=show
        )
    )
    show.end()
    if as_json:
        click.echo(_json({"snapshot": name, "missing": missing}))
    else:
        click.echo(f"Snapshot {name} is restored into {data}.")
        _print_missing(missing)
        if lacks_master_key(data):
            click.echo(
                f"The snapshot holds no master key: copy it to {data}/master.key (mode 0600) before"
                " the Cloud is started,"
            )
            click.echo("or name its file with --master-key.")
        click.echo("Start the Cloud on it, then follow the runbook restore.md.")
    sys.exit(FAULTS if missing else 0)


@click.command()
@DATA
@MASTER_KEY
def reseal(data: Path, master_key: Path | None) -> None:
    """Create a new master key and seal every secret of the data folder with it.

    Stop the Cloud before. After an interruption, the same command continues; the Cloud starts in
    between too.
    """
    from swallowtail.cloud.operations.reseal import reseal as reseal_folder

    _run(lambda: reseal_folder(data, master_key))
    click.echo(
        "Every secret is sealed under a new master key. Replace the copies of the old one, and"
        " destroy them."
    )


class _Progress:
    """A line of progress on standard error, at most once a second, on a terminal only."""

    def __init__(self, text: Callable[[Any], str]) -> None:
        self._text = text
        self._next = 0.0
        self._shown = False

    def __call__(self, state: Any) -> None:
        now = time.monotonic()
        if now >= self._next and sys.stderr.isatty():
            self._next = now + PROGRESS_EVERY
            self._shown = True
            click.echo(f"\r\x1b[K{self._text(state)}", err=True, nl=False)

    def end(self) -> None:
        """End the line."""
        if self._shown:
            click.echo(err=True)


def _run(work: Callable[[], Awaitable[T]]) -> T:
    """Run a command; if it fails, print the cause and exit with FAILED."""
    from swallowtail.cloud.data_folder.data_folder import DataFolderError
    from swallowtail.cloud.model.port_errors import CloudError
    from swallowtail.cloud.operations.backup import BackupError
    from swallowtail.cloud.secrets.sealing import SealError

    async def run() -> T:
        return await work()

    try:
        return asyncio.run(run())
    except (BackupError, CloudError, DataFolderError, SealError) as error:
        click.echo(f"Error: {error}", err=True)
    except OSError as error:
        click.echo(
            f"Error: {error.filename}: {error.strerror}; check the disk, its free space and the"
            " permissions",
            err=True,
        )
    sys.exit(FAILED)


def _json(value: object) -> str:
    import msgspec

    return json.dumps(msgspec.to_builtins(value))


def _size(length: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if length < 1000:
            return f"{length:.3g} {unit}"
        length /= 1000
    return f"{length:.3g} TB"


def _copied(copied: "Copied") -> str:
    return f"{copied.blobs} blobs, {copied.copied} of them copied, {_size(copied.bytes)}"


def _print_organisation(one: "OrganisationReport") -> None:
    click.echo(
        f"{one.organisation}: {one.instances} instances in {one.blobs} blobs"
        f" ({_size(one.bytes)}), ",
        nl=False,
    )
    click.echo(f"{one.waiting} waiting for the index, {one.quarantined} quarantined, ", nl=False)
    click.echo(
        f"{one.audit_records} audit records, {one.orphans} blobs without a row"
        f" ({_size(one.orphan_bytes)})"
    )


def _print_report(report: "CheckReport") -> None:
    from swallowtail.cloud.operations.check import REMEDIES

    for one in report.organisations:
        _print_organisation(one)
    for finding in report.findings:
        click.echo(f"{finding.fault.value}: {finding.subject}, organisation {finding.organisation}")
    if len(report.findings) < report.faults:
        click.echo(f"… and {report.faults - len(report.findings)} more")
    for fault in dict.fromkeys(finding.fault for finding in report.findings):
        click.echo(f"What to do ({fault.value}): {REMEDIES[fault]}")
    read = (
        "every blob was read whole"
        if report.rehashed
        else "of each blob only the length was compared"
    )
    click.echo(f"{report.faults or 'no'} findings; {read}")


def _print_backup(name: str, manifest: "Manifest", removed: int) -> None:
    click.echo(
        f"Snapshot {name}: {manifest.blobs} blobs ({_size(manifest.bytes)}), {len(manifest.files)}"
        " files"
    )
    if removed:
        click.echo(f"{removed} blobs of removed snapshots were removed")
    if "master.key" in manifest.files:
        click.echo(
            "It holds patient data and master.key: protect it as you protect the data folder."
        )
    else:
        click.echo("It holds patient data, but not the master key: keep a copy of that elsewhere.")
    _print_missing(manifest.missing)


def _print_missing(missing: list["Missing"]) -> None:
    for one in missing[:20]:
        click.echo(
            f"missing: blob {one.sha256} of instance {one.instance}, organisation"
            f" {one.organisation}"
        )
    if missing:
        click.echo(
            f"{len(missing)} data sets are missing or damaged; run `swallowtail cloud check`"
        )
