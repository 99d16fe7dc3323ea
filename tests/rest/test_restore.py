"""The drill of docs/runbooks/restore.md.

A backup taken while the Cloud runs, restored on an empty machine.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from swallowtail.sim.dicom_files import ultrasound_study
from swallowtail.sim.installation import (
    ANY_DEVICE,
    SWALLOWTAIL,
    Installation,
    Listening,
    with_source,
)
from swallowtail.sim.modality import Modality
from swallowtail.sim.processes import accepts, free_port
from tests.programs import quiet


def command(*words: str | Path, status: int = 0) -> Any:
    """Run `swallowtail cloud …`; return the JSON that it prints."""
    argv = [*SWALLOWTAIL, "cloud", *map(str, words), "--json"]
    done = subprocess.run(
        argv, capture_output=True, timeout=60, check=False, env=os.environ | with_source({})
    )
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def test_what_was_backed_up_comes_back_and_link_follows(tmp_path: Path) -> None:
    data, copy = tmp_path / "site" / "cloud", tmp_path / "backup"
    with Installation(tmp_path / "site", listeners=[Listening("imaging", more=ANY_DEVICE)]) as site:
        modality = Modality(site.port("imaging"), "SWALLOWTAIL")
        before, after = (ultrasound_study(tmp_path / name)[1] for name in ("before", "after"))
        assert modality.send([before.path])[0].stored
        site.wait_for_instances(1, before.study)
        assert command("backup", "--data", data, "--to", copy)["manifest"]["blobs"] == 1
        assert command("check", "--data", data)["faults"] == 0  # beside the Cloud that serves

        path = f"/api/v1/links/{site.link_id}/configuration"
        document, port = site.rest.json(path)["document"], free_port()
        document["listeners"][0]["port"] = port
        site.rest.json(path, method="PUT", body={"document": document})
        site.link.wait_until(
            lambda: accepts(port) and site.in_sync(), seconds=10, what="the newer configuration"
        )
        assert Modality(port, "SWALLOWTAIL").send([after.path])[0].stored

        site.cloud.kill()
        shutil.rmtree(data)
        assert command("restore", copy, "--data", data)["missing"] == []
        assert command("check", "--data", data)["faults"] == 0
        site.start_cloud()
        site.wait_until_listening()  # Link came by itself, and runs the older configuration again
        assert not accepts(port)
        assert [one["sop_instance"] for one in site.instances()] == [before.sop_instance]
        assert (
            site.rest.fetch(f"/api/v1/instances/{site.instances()[0]['id']}/dataset")
            == before.data_set()
        )
        verdict = site.rest.json("/api/v1/audit/verify")
        assert (verdict["broken_at"], verdict["exported"] is not None) == (None, True)
        assert "audit-broken" not in [
            one["condition"] for one in site.rest.json("/api/v1/alarms")["items"]
        ]
        assert modality.send([after.path])[
            0
        ].stored  # what came after the backup is lost, until its sender sends it again
        assert len(site.instances()) == 2
        (data / "admin.token").write_text(site.token)
        client = ["--cloud", site.url, "--ca", site.ca, "--token-file", data / "admin.token"]
        assert command("reindex", *client, "--wait") == {
            "queued": 2,
            "waiting": 0,
            "quarantined": 0,
        }
        assert site.rest.json(f"/dicomweb/studies?StudyInstanceUID={before.study}")
        (data / "admin.token").unlink()
        (data / "blobs").rename(data / "moved")
        assert command("check", "--data", data, status=1)["faults"] == 2
        (data / "moved").rename(data / "blobs")
    for program in site.programs:
        quiet(program.output)
