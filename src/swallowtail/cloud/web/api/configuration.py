"""The REST resource of a Link's configuration."""

import json
from typing import Annotated, Any, Final

from swallowtail.calls.config import schema
from swallowtail.cloud.link_administration.configuration import (
    Comparison,
    ConfigurationAdministration,
)
from swallowtail.cloud.model.operations import ConfigurationVersion
from swallowtail.cloud.web.access import Anywhere, InOrganisation
from swallowtail.cloud.web.api.schemas import (
    ComparisonOut,
    ConfigurationNew,
    ConfigurationOut,
    EndpointComparisonOut,
    FaultOut,
    PageOut,
    Rollback,
    RowId,
    page_out,
)
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.roles import ANYONE, CONFIGURATION_READERS, CONFIGURATORS
from swallowtail.cloud.web.route import BY_FACILITY, SAME, Route
from swallowtail.cloud.web.use_cases import provided

Administration = Annotated[ConfigurationAdministration, provided(ConfigurationAdministration)]


async def configuration_schema(caller: Anywhere) -> dict[str, Any]:
    """Get the schema of configurations.

    Returns the JSON Schema of a Link's configuration. Rules between parts are checked when a
    version is put.
    """
    return schema()


async def get_configuration(
    caller: InOrganisation, configuration: Administration, link_id: str
) -> ConfigurationOut:
    """Get the desired configuration.

    Returns the newest version with its document.
    """
    return _out(await configuration.desired(caller, link_id))


async def put_configuration(
    caller: InOrganisation, configuration: Administration, link_id: str, body: ConfigurationNew
) -> ConfigurationOut:
    """Set the desired configuration.

    Makes a document the newest version. A Link that is online applies it within a second, or
    refuses it as a whole and reports why.
    """
    document = json.dumps(body.document).encode()
    return _out(
        await configuration.put(
            caller, link_id, document, expected=body.expected, comment=body.comment
        )
    )


async def configuration_history(
    caller: InOrganisation, configuration: Administration, link_id: str, page: Paging
) -> PageOut[ConfigurationOut]:
    """List versions.

    Returns the versions of a configuration, newest first, without their documents.
    """
    return page_out(await configuration.versions(caller, link_id, page), _out)


async def configuration_version(
    caller: InOrganisation, configuration: Administration, link_id: str, version: RowId
) -> ConfigurationOut:
    """Get a version.

    Returns one version of a configuration with its document.
    """
    return _out(await configuration.version(caller, link_id, version))


async def roll_back(
    caller: InOrganisation, configuration: Administration, link_id: str, body: Rollback
) -> ConfigurationOut:
    """Roll back to a version.

    Makes the document of an older version the newest version. No version is deleted.
    """
    return _out(await configuration.roll_back(caller, link_id, body.version, comment=body.comment))


async def compare_configuration(
    caller: InOrganisation, configuration: Administration, link_id: str
) -> ComparisonOut:
    """Compare desired and reported configuration.

    Returns both versions, and every listener and destination with the state that the Link reported.
    """
    return _comparison(await configuration.compare(caller, link_id))


def _comparison(found: Comparison) -> ComparisonOut:
    return ComparisonOut(
        desired=found.desired,
        reported=found.reported,
        in_sync=found.in_sync,
        online=found.online,
        problems=[FaultOut(field=field, message=message) for field, message in found.problems],
        endpoints=[EndpointComparisonOut.model_validate(one) for one in found.endpoints],
    )


def _out(version: ConfigurationVersion) -> ConfigurationOut:
    return ConfigurationOut(
        link=version.link,
        version=version.version,
        document=json.loads(version.document) if version.document else None,
        author=version.author,
        created=version.created,
        comment=version.comment,
        restored_from=version.restored_from,
    )


_CONFIGURATION: Final = "/links/{link_id}/configuration"

ROUTES: Final = (
    Route(
        "GET",
        _CONFIGURATION,
        get_configuration,
        CONFIGURATION_READERS,
        BY_FACILITY,
        "configuration",
        use_case=ConfigurationAdministration.desired,
    ),
    Route(
        "PUT",
        _CONFIGURATION,
        put_configuration,
        CONFIGURATORS,
        BY_FACILITY,
        "configuration",
        use_case=ConfigurationAdministration.put,
        audit="configuration.put",
    ),
    Route(
        "GET",
        f"{_CONFIGURATION}/versions",
        configuration_history,
        CONFIGURATION_READERS,
        BY_FACILITY,
        "configuration",
        use_case=ConfigurationAdministration.versions,
    ),
    Route(
        "GET",
        f"{_CONFIGURATION}/versions/{{version}}",
        configuration_version,
        CONFIGURATION_READERS,
        BY_FACILITY,
        "configuration",
        use_case=ConfigurationAdministration.version,
    ),
    Route(
        "POST",
        f"{_CONFIGURATION}/rollback",
        roll_back,
        CONFIGURATORS,
        BY_FACILITY,
        "configuration",
        use_case=ConfigurationAdministration.roll_back,
        audit="configuration.rollback",
    ),
    Route(
        "GET",
        f"{_CONFIGURATION}/comparison",
        compare_configuration,
        CONFIGURATION_READERS,
        BY_FACILITY,
        "configuration",
        use_case=ConfigurationAdministration.compare,
    ),
    Route("GET", "/schemas/configuration", configuration_schema, ANYONE, SAME, "configuration"),
)
