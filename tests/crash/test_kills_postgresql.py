"""The programs under load with their records on PostgreSQL: PostgreSQL and the Cloud are killed.

PostgreSQL is stopped in its immediate mode, which is a crash of the server: connections are cut in
the middle of whatever they do, nothing is written any more, and it recovers from its log. Its
folder lies in memory, so that a loss of power is not covered here.
"""

import random
import time

import psycopg
import pytest

from swallowtail.sim.installation import Installation
from tests.crash.test_kills import ROWS, Load, lost
from tests.modes import amount
from tests.postgresql import running_server

ACKNOWLEDGED = amount(300, 10_000)
KILLS = amount(8, 200)


def test_nothing_acknowledged_is_lost_when_postgresql_and_the_cloud_are_killed(
    tmp_path, record_property
):
    with running_server() as server:
        database = server.create()
        environment = {"SWALLOWTAIL_DATABASE_URL": database.url.render_as_string()}
        with Installation(tmp_path, environment=environment) as site:
            site.rest.close()
            site.operator.close()
            acknowledged = _killed_again_and_again(site, server)
            site.link.kill()
            site.cloud.kill()
            record_property("acknowledged", len(acknowledged))
            with psycopg.connect(
                host=str(server.folder), user="admin", dbname=database.url.database
            ) as connection:
                rows = connection.execute(ROWS).fetchall()
            assert list(lost(site.folder / "cloud", rows, acknowledged)) == []


def _killed_again_and_again(site, server):
    random_source = random.Random(3)
    load = Load(site.port("imaging"), site.called_ae("imaging"))
    load.start()
    kills = 0
    try:
        while (kills < KILLS or len(load.acknowledged) < ACKNOWLEDGED) and load.is_alive():
            target = len(load.acknowledged) + random_source.randint(1, 2 * ACKNOWLEDGED // KILLS)
            patience = time.monotonic() + 60
            while len(load.acknowledged) < target and load.is_alive():
                if time.monotonic() > patience:
                    pytest.fail(f"no store succeeds any more: {site.cloud.text()[-2000:]}")
                load.join(0.005)
            if kills % 4 < 3:
                server.kill()
                server.start()
            else:
                site.cloud.kill()
                site.start_cloud()
            kills += 1
    finally:
        load.stopping = True
        load.join(60)
    assert not load.problems
    return load.acknowledged
