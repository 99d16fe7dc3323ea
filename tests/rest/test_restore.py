"""The backup that docs/runbooks/restore.md describes, taken while the Cloud runs, and what comes back of it on an empty machine."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from swallowtail.sim.files import ultrasound_study
from swallowtail.sim.installation import ANY_DEVICE, Installation, Listening
from swallowtail.sim.modality import Modality
from swallowtail.sim.processes import accepts, free_port
from tests.programs import quiet

SMALL = ("master.key", "pepper.sealed", "ca.pem", "ca.key", "server.pem", "server.key")


def back_up(data: Path, copy: Path) -> None:
    """Blobs first, then the database: a blob without a row is harmless, a row without its blob is not."""
    shutil.copytree(data / "blobs", copy / "blobs")
    with closing(sqlite3.connect(data / "cloud.sqlite3")) as source, closing(sqlite3.connect(copy / "cloud.sqlite3")) as target:
        source.backup(target)
    for name in SMALL:
        shutil.copy2(data / name, copy / name)


def test_what_was_backed_up_comes_back_and_link_follows(tmp_path: Path) -> None:
    data, copy = tmp_path / "site" / "cloud", tmp_path / "backup"
    with Installation(tmp_path / "site", listeners=[Listening("imaging", more=ANY_DEVICE)]) as site:
        modality = Modality(site.port("imaging"), "SWALLOWTAIL")
        before, after = (ultrasound_study(tmp_path / name)[1] for name in ("before", "after"))
        assert modality.send([before.path])[0].stored
        site.wait_for_instances(1, before.study)
        back_up(data, copy)

        path = f"/api/v1/links/{site.link_id}/configuration"
        document, port = site.rest.json(path)["document"], free_port()
        document["listeners"][0]["port"] = port
        site.rest.json(path, method="PUT", body={"document": document})
        site.link.wait_until(lambda: accepts(port) and site.in_step(), seconds=10, what="the newer configuration")
        assert Modality(port, "SWALLOWTAIL").send([after.path])[0].stored

        site.cloud.kill()
        shutil.rmtree(data)
        copy.rename(data)
        site.start_cloud()
        site.wait_until_listening()  # Link came by itself, and runs the older configuration again
        assert not accepts(port)
        assert [one["sop_instance"] for one in site.instances()] == [before.sop_instance]
        assert site.rest.fetch(f"/api/v1/instances/{site.instances()[0]['id']}/dataset") == before.data_set()
        assert site.rest.json("/api/v1/audit/verify")["broken_at"] is None
        assert modality.send([after.path])[0].stored  # what came after the backup is lost, until its sender sends it again
        assert len(site.instances()) == 2
    for program in site.programs:
        quiet(program.output)
