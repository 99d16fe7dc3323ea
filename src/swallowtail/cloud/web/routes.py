"""Every route of the Cloud: the tables of the resources, collected in one place.

Tests walk them without a token, with a wrong role, and with another tenant's resources.
"""

from itertools import chain
from typing import Final

from swallowtail.cloud.web.api import (
    alarms,
    archives,
    audit,
    audit_export,
    configuration,
    deletions,
    deliveries,
    destinations,
    facilities,
    index_jobs,
    links,
    organisations,
    rules,
    studies,
    tokens,
    unindexed,
    unknown_devices,
)
from swallowtail.cloud.web.dicomweb import dicomweb_routes
from swallowtail.cloud.web.dicomweb.dicom_json import PREFIX as DICOMWEB_PREFIX
from swallowtail.cloud.web.route import Route

PREFIX: Final = "/api/v1"

RESOURCES: Final = (
    organisations.ROUTES,
    facilities.ROUTES,
    links.ROUTES,
    configuration.ROUTES,
    destinations.ROUTES,
    deliveries.ROUTES,
    rules.ROUTES,
    unknown_devices.ROUTES,
    tokens.ROUTES,
    studies.ROUTES,
    unindexed.ROUTES,
    index_jobs.ROUTES,
    deletions.ROUTES,
    archives.ROUTES,
    alarms.ROUTES,
    audit.ROUTES,
    audit_export.ROUTES,
)
"""The table of each resource of the REST API, in the order of the OpenAPI document."""

ROUTES: Final[tuple[Route, ...]] = tuple(chain.from_iterable(RESOURCES))
TABLES: Final = ((PREFIX, ROUTES), (DICOMWEB_PREFIX, dicomweb_routes.ROUTES))
