"""The history of the tables, run at every start of the Cloud.

A change comes as a pair of revisions, `<n>_pre` and, where needed, `<n>_post`. The first only adds,
so that the release before still works on it; the second removes what nobody reads any more, and
ships with the release after.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from swallowtail.cloud.model.port_errors import StorageUnavailableError


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Upgrade the tables of this connection's database to a revision, each in a transaction.

    Raises StorageUnavailableError.
    """
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:  # a revision that this release does not have
        raise StorageUnavailableError(
            "the database was made by a newer release; start that release"
        ) from error
    connection.commit()


def is_current(connection: Connection) -> bool:
    """Return whether the tables are those of this release, without a change to them."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    return MigrationContext.configure(connection).get_current_revision() == newest


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config
