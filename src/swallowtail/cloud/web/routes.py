"""Every route of the API as one table: path, method, who may use it.

Tests walk it without token, wrong tenant, wrong role.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from swallowtail.cloud.model.tenancy import Role
from swallowtail.cloud.web.access import LIMITED_KEY, ROLES_KEY, GuardedRoute, Limited
from swallowtail.cloud.web.api import (
    archives,
    audit_export,
    configuration,
    deletions,
    deliveries,
    destinations,
    index_jobs,
    links,
    organisations,
    oversight,
    rules,
    studies,
    tokens,
    unindexed,
)
from swallowtail.cloud.web.dicomweb import rendered, search, stow, wado
from swallowtail.cloud.web.dicomweb.accept import DICOM, JSON, MULTIPART
from swallowtail.cloud.web.dicomweb.dicom_json import PREFIX as DICOMWEB_PREFIX
from swallowtail.cloud.web.dicomweb.dicom_schema import (
    DATA_SET,
    DATA_SETS,
    STORE_BODY,
    search_parameters,
)
from swallowtail.cloud.web.dicomweb.media import PIXEL_MEDIA
from swallowtail.cloud.web.dicomweb.qido import INSTANCE_KEYS, SERIES_KEYS, STUDY_KEYS
from swallowtail.cloud.web.dicomweb.rendered import JPEG, PNG
from swallowtail.cloud.web.dicomweb.wado import MP4
from swallowtail.cloud.web.openapi_document import REFUSES_KEY

PREFIX: Final = "/api/v1"

FILTERED, BY_FACILITY = Limited.FILTERED, Limited.BY_FACILITY
REFUSED, SAME = Limited.REFUSED, Limited.SAME

ANYONE: Final = frozenset(Role)
OPERATOR: Final = frozenset({Role.OPERATOR})
PEOPLE: Final = frozenset({Role.OPERATOR, Role.ADMINISTRATOR})
"""Who manages tokens, facilities and whose Link it is."""
SETUP: Final = frozenset({Role.OPERATOR, Role.ADMINISTRATOR, Role.INTEGRATOR})
"""Who connects systems; an operator does so by applying a whole file."""
SETUP_VIEW: Final = SETUP | {Role.AUDITOR}
OPERATE: Final = frozenset({Role.ADMINISTRATOR, Role.INTEGRATOR})
"""Who keeps the organisation's queues going."""
PATIENTS: Final = frozenset({Role.ADMINISTRATOR, Role.INTEGRATOR, Role.CLINICIAN})
"""Who sees patient data; never an operator."""
ADMINISTRATOR: Final = frozenset({Role.ADMINISTRATOR})
"""Who decides about stored instances: which copy is shown, and what is deleted."""
AUDIT: Final = frozenset({Role.OPERATOR, Role.ADMINISTRATOR, Role.AUDITOR})
ALARMS: Final = frozenset({Role.ADMINISTRATOR, Role.INTEGRATOR, Role.CLINICIAN, Role.AUDITOR})


_TEXT: Final = {"schema": {"type": "string"}}
WHOLE_HEADERS: Final = {
    "ETag": {"description": "Where ranges are given: changes with the bytes", **_TEXT},
    "Accept-Ranges": {"description": "`bytes` where ranges are given", **_TEXT},
}
PART_HEADERS: Final = {
    **WHOLE_HEADERS,
    "Content-Range": {"description": "Which bytes, of how many", "required": True, **_TEXT},
}
RANGE_PARAMETERS: Final = [
    {
        "name": "Range",
        "in": "header",
        "description": (
            "One range of bytes, like `bytes=0-1023`; several are answered with the whole."
        ),
        **_TEXT,
    },
    {
        "name": "If-Range",
        "in": "header",
        "description": "An ETag: the range if the bytes are still those, else the whole.",
        **_TEXT,
    },
]


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table."""

    method: str
    path: str
    endpoint: Callable[..., Any]
    roles: frozenset[Role]
    limited: Limited
    tag: str
    status: int = 200
    media: str = "application/json"
    """Of a good answer; anything but JSON is described as bytes."""
    or_media: tuple[str, ...] = ()
    """What a good answer may be instead, by what the client accepts and what is stored."""
    also: tuple[tuple[int, str], ...] = ()
    """Other statuses with an answer of the same kind."""
    may_be_empty: bool = False
    """It answers 204 where nothing matches."""
    parameters: tuple[Mapping[str, Any], ...] = ()
    """What it takes beside what its types tell."""
    body: Mapping[str, Any] | None = None
    """The body that it reads by itself."""
    refuses: frozenset[int] = frozenset()
    """Statuses of refusals that follow from nothing else; see `description`."""
    ranged: bool = False
    """It gives a range of the bytes if asked for one, and answers HEAD."""

    @property
    def described(self) -> dict[int | str, dict[str, Any]]:
        """Say what it answers beside what its types tell."""
        if self.media == "application/json":
            return {}
        schema: dict[str, Any] = {"type": "string", "format": "binary"}
        if self.media.endswith("+json"):
            schema = DATA_SETS if self.method == "GET" else DATA_SET
        nothing: dict[int | str, dict[str, Any]] = (
            {204: {"description": "Nothing matches"}} if self.may_be_empty else {}
        )
        same: dict[int | str, dict[str, Any]] = {}
        same |= {
            status: {"content": {self.media: {"schema": schema}}, "description": text}
            for status, text in self.also
        }
        content = {media: {"schema": schema} for media in (self.media, *self.or_media)}
        found: dict[str, Any] = {"content": content}
        if not self.ranged:
            return {self.status: found, **nothing, **same}
        part = {**found, "description": "The range that Range asks for", "headers": PART_HEADERS}
        return {self.status: found | {"headers": WHOLE_HEADERS}, 206: part, **nothing, **same}


_OF_OPERATORS: Final = "/operator-tokens/{token_id}"
_REINDEX: Final = "/unindexed-instances/reindex"
_IN_ARCHIVE: Final = "/archives/{archive_id}/studies/{study_uid}"
ROUTES: Final = (
    Route("GET", "/whoami", organisations.who_am_i, ANYONE, SAME, "access"),
    Route(
        "GET",
        "/organisations",
        organisations.list_organisations,
        OPERATOR,
        REFUSED,
        "organisations",
    ),
    Route(
        "POST",
        "/organisations",
        organisations.create_organisation,
        OPERATOR,
        REFUSED,
        "organisations",
        201,
    ),
    Route(
        "GET",
        "/organisations/{organisation_id}",
        organisations.get_organisation,
        OPERATOR,
        REFUSED,
        "organisations",
    ),
    Route(
        "PATCH",
        "/organisations/{organisation_id}",
        organisations.change_organisation,
        OPERATOR,
        REFUSED,
        "organisations",
    ),
    Route(
        "DELETE",
        "/organisations/{organisation_id}",
        organisations.remove_organisation,
        OPERATOR,
        REFUSED,
        "organisations",
        204,
    ),
    Route("PUT", "/retention", organisations.set_retention, PEOPLE, REFUSED, "organisations"),
    Route(
        "GET", "/facilities", organisations.list_facilities, ANYONE, BY_FACILITY, "organisations"
    ),
    Route(
        "POST", "/facilities", organisations.create_facility, PEOPLE, REFUSED, "organisations", 201
    ),
    Route(
        "GET",
        "/facilities/{facility_id}",
        organisations.get_facility,
        ANYONE,
        BY_FACILITY,
        "organisations",
    ),
    Route(
        "PATCH",
        "/facilities/{facility_id}",
        organisations.change_facility,
        PEOPLE,
        BY_FACILITY,
        "organisations",
    ),
    Route("GET", "/links", links.list_links, SETUP_VIEW, BY_FACILITY, "links"),
    Route("POST", "/links", links.create_link, SETUP, REFUSED, "links", 201),
    Route("GET", "/links/{link_id}", links.get_link, SETUP_VIEW, BY_FACILITY, "links"),
    Route("PATCH", "/links/{link_id}", links.change_link, SETUP, BY_FACILITY, "links"),
    Route("DELETE", "/links/{link_id}", links.remove_link, PEOPLE, BY_FACILITY, "links", 204),
    Route("POST", "/links/{link_id}/rotate", links.rotate_code, SETUP, BY_FACILITY, "links"),
    Route("POST", "/links/{link_id}/rebind", links.rebind_link, SETUP, BY_FACILITY, "links"),
    Route("POST", "/links/{link_id}/revoke", links.revoke_code, SETUP, BY_FACILITY, "links"),
    Route("POST", "/links/{link_id}/ping", links.ping_link, SETUP, BY_FACILITY, "links"),
    Route("GET", "/links/{link_id}/status", links.link_status, SETUP_VIEW, BY_FACILITY, "links"),
    Route(
        "GET",
        "/links/{link_id}/configuration",
        configuration.get_configuration,
        SETUP_VIEW,
        BY_FACILITY,
        "configuration",
    ),
    Route(
        "PUT",
        "/links/{link_id}/configuration",
        configuration.put_configuration,
        SETUP,
        BY_FACILITY,
        "configuration",
    ),
    Route(
        "GET",
        "/links/{link_id}/configuration/versions",
        configuration.configuration_history,
        SETUP_VIEW,
        BY_FACILITY,
        "configuration",
    ),
    Route(
        "GET",
        "/links/{link_id}/configuration/versions/{version}",
        configuration.configuration_version,
        SETUP_VIEW,
        BY_FACILITY,
        "configuration",
    ),
    Route(
        "POST",
        "/links/{link_id}/configuration/rollback",
        configuration.roll_back,
        SETUP,
        BY_FACILITY,
        "configuration",
    ),
    Route(
        "GET",
        "/links/{link_id}/configuration/comparison",
        configuration.compare_configuration,
        SETUP_VIEW,
        BY_FACILITY,
        "configuration",
    ),
    Route(
        "GET",
        "/schemas/configuration",
        configuration.configuration_schema,
        ANYONE,
        SAME,
        "configuration",
    ),
    Route(
        "GET",
        "/destinations",
        destinations.list_destinations,
        SETUP_VIEW,
        BY_FACILITY,
        "destinations",
    ),
    Route(
        "POST",
        "/destinations",
        destinations.create_destination,
        SETUP,
        BY_FACILITY,
        "destinations",
        201,
    ),
    Route(
        "GET",
        "/destinations/{destination_id}",
        destinations.get_destination,
        SETUP_VIEW,
        BY_FACILITY,
        "destinations",
    ),
    Route(
        "PATCH",
        "/destinations/{destination_id}",
        destinations.change_destination,
        SETUP,
        BY_FACILITY,
        "destinations",
    ),
    Route(
        "DELETE",
        "/destinations/{destination_id}",
        destinations.remove_destination,
        SETUP,
        BY_FACILITY,
        "destinations",
        204,
    ),
    Route(
        "POST",
        "/destinations/{destination_id}/check",
        destinations.check_destination,
        OPERATE,
        BY_FACILITY,
        "destinations",
    ),
    Route(
        "POST",
        "/destinations/{destination_id}/pause",
        destinations.pause_destination,
        OPERATE,
        BY_FACILITY,
        "destinations",
    ),
    Route(
        "POST",
        "/destinations/{destination_id}/resume",
        destinations.resume_destination,
        OPERATE,
        BY_FACILITY,
        "destinations",
    ),
    Route("GET", "/deliveries", deliveries.list_deliveries, PATIENTS, BY_FACILITY, "deliveries"),
    Route(
        "POST", "/deliveries/act", deliveries.act_on_deliveries, OPERATE, BY_FACILITY, "deliveries"
    ),
    Route(
        "GET",
        "/deliveries/{delivery_id}",
        deliveries.get_delivery,
        PATIENTS,
        BY_FACILITY,
        "deliveries",
    ),
    Route(
        "GET",
        "/deliveries/{delivery_id}/attempts",
        deliveries.list_attempts,
        PATIENTS,
        BY_FACILITY,
        "deliveries",
    ),
    Route(
        "POST",
        "/deliveries/{delivery_id}/park",
        deliveries.park_delivery,
        OPERATE,
        BY_FACILITY,
        "deliveries",
    ),
    Route(
        "POST",
        "/deliveries/{delivery_id}/resend",
        deliveries.resend_delivery,
        OPERATE,
        BY_FACILITY,
        "deliveries",
    ),
    Route(
        "POST",
        "/deliveries/{delivery_id}/retry",
        deliveries.retry_delivery,
        OPERATE,
        BY_FACILITY,
        "deliveries",
    ),
    Route(
        "POST",
        "/deliveries/{delivery_id}/skip",
        deliveries.skip_delivery,
        OPERATE,
        BY_FACILITY,
        "deliveries",
    ),
    Route("GET", "/rules", rules.list_rules, SETUP_VIEW, REFUSED, "rules"),
    Route("POST", "/rules", rules.create_rule, SETUP, REFUSED, "rules", 201),
    Route("POST", "/rules/dry-run", rules.dry_run, OPERATE, REFUSED, "rules"),
    Route("PUT", "/rules/order", rules.order_rules, SETUP, REFUSED, "rules"),
    Route("GET", "/rules/{rule_id}", rules.get_rule, SETUP_VIEW, REFUSED, "rules"),
    Route("PATCH", "/rules/{rule_id}", rules.change_rule, SETUP, REFUSED, "rules"),
    Route("DELETE", "/rules/{rule_id}", rules.remove_rule, SETUP, REFUSED, "rules", 204),
    Route(
        "GET",
        "/unknown-devices",
        configuration.list_unknown_devices,
        SETUP_VIEW,
        BY_FACILITY,
        "devices",
    ),
    Route(
        "POST",
        "/unknown-devices/dismiss",
        configuration.dismiss_unknown_device,
        SETUP,
        BY_FACILITY,
        "devices",
        204,
    ),
    Route("GET", "/tokens", tokens.list_tokens, PEOPLE, REFUSED, "access"),
    Route("POST", "/tokens", tokens.create_token, PEOPLE, REFUSED, "access", 201),
    Route("GET", "/tokens/{token_id}", tokens.get_token, PEOPLE, REFUSED, "access"),
    Route("PATCH", "/tokens/{token_id}", tokens.update_token, PEOPLE, REFUSED, "access"),
    Route("POST", "/tokens/{token_id}/rotate", tokens.rotate_token, PEOPLE, REFUSED, "access"),
    Route("DELETE", "/tokens/{token_id}", tokens.revoke_token, PEOPLE, REFUSED, "access", 204),
    Route("GET", "/operator-tokens", tokens.list_operator_tokens, OPERATOR, REFUSED, "access"),
    Route(
        "POST", "/operator-tokens", tokens.create_operator_token, OPERATOR, REFUSED, "access", 201
    ),
    Route("GET", _OF_OPERATORS, tokens.get_operator_token, OPERATOR, REFUSED, "access"),
    Route("PATCH", _OF_OPERATORS, tokens.update_operator_token, OPERATOR, REFUSED, "access"),
    Route(
        "POST", f"{_OF_OPERATORS}/rotate", tokens.rotate_operator_token, OPERATOR, REFUSED, "access"
    ),
    Route("DELETE", _OF_OPERATORS, tokens.revoke_operator_token, OPERATOR, REFUSED, "access", 204),
    Route("GET", "/studies", studies.list_studies, PATIENTS, FILTERED, "imaging"),
    Route("GET", "/studies/{study_uid}", studies.get_study, PATIENTS, FILTERED, "imaging"),
    Route("GET", "/studies/{study_uid}/series", studies.list_series, PATIENTS, FILTERED, "imaging"),
    Route(
        "POST", "/studies/{study_uid}/send", deliveries.send_study, PATIENTS, BY_FACILITY, "imaging"
    ),
    Route("GET", "/instances", studies.list_instances, PATIENTS, FILTERED, "imaging"),
    Route("GET", "/instances/{instance_id}", studies.get_instance, PATIENTS, FILTERED, "imaging"),
    Route(
        "GET",
        "/instances/{instance_id}/file",
        studies.get_file,
        PATIENTS,
        FILTERED,
        "imaging",
        media=DICOM,
        ranged=True,
    ),
    Route(
        "GET",
        "/instances/{instance_id}/dataset",
        studies.get_data_set,
        PATIENTS,
        FILTERED,
        "imaging",
        media="application/octet-stream",
        ranged=True,
    ),
    Route(
        "POST",
        "/instances/{instance_id}/choose",
        studies.choose_instance,
        ADMINISTRATOR,
        BY_FACILITY,
        "imaging",
    ),
    Route(
        "GET",
        "/unindexed-instances",
        unindexed.list_unindexed_instances,
        PATIENTS,
        BY_FACILITY,
        "imaging",
    ),
    Route(
        "POST",
        _REINDEX,
        unindexed.reindex_unindexed_instances,
        OPERATE,
        BY_FACILITY,
        "imaging",
        202,
    ),
    Route("GET", "/index-jobs", index_jobs.get_index_jobs, OPERATE, REFUSED, "imaging"),
    Route("POST", "/index-jobs", index_jobs.reindex, OPERATE, REFUSED, "imaging", 202),
    Route(
        "DELETE",
        "/studies/{study_uid}",
        deletions.delete_study,
        ADMINISTRATOR,
        BY_FACILITY,
        "deletions",
    ),
    Route(
        "DELETE",
        "/studies/{study_uid}/series/{series_uid}",
        deletions.delete_series,
        ADMINISTRATOR,
        BY_FACILITY,
        "deletions",
    ),
    Route(
        "DELETE",
        "/studies/{study_uid}/series/{series_uid}/instances/{sop_instance_uid}",
        deletions.delete_sop_instance,
        ADMINISTRATOR,
        BY_FACILITY,
        "deletions",
    ),
    Route(
        "DELETE",
        "/instances/{instance_id}",
        deletions.delete_instance,
        ADMINISTRATOR,
        BY_FACILITY,
        "deletions",
    ),
    Route("GET", "/deletions", deletions.list_deletions, ADMINISTRATOR, BY_FACILITY, "deletions"),
    Route(
        "GET",
        "/deletions/{deletion_id}",
        deletions.get_deletion,
        ADMINISTRATOR,
        BY_FACILITY,
        "deletions",
    ),
    Route(
        "GET",
        "/deletions/{deletion_id}/instances",
        deletions.list_deleted_instances,
        ADMINISTRATOR,
        BY_FACILITY,
        "deletions",
    ),
    Route(
        "POST",
        "/deletions/{deletion_id}/restore",
        deletions.restore_deletion,
        ADMINISTRATOR,
        BY_FACILITY,
        "deletions",
    ),
    Route(
        "POST",
        "/deletions/{deletion_id}/purge",
        deletions.purge_deletion,
        ADMINISTRATOR,
        BY_FACILITY,
        "deletions",
    ),
    Route(
        "GET",
        "/retention-locks",
        deletions.list_retention_locks,
        ADMINISTRATOR,
        REFUSED,
        "deletions",
    ),
    Route(
        "PUT",
        "/studies/{study_uid}/retention-lock",
        deletions.lock_study,
        ADMINISTRATOR,
        REFUSED,
        "deletions",
    ),
    Route(
        "DELETE",
        "/studies/{study_uid}/retention-lock",
        deletions.unlock_study,
        ADMINISTRATOR,
        REFUSED,
        "deletions",
        204,
    ),
    Route("GET", "/archives", archives.list_archives, PATIENTS, FILTERED, "archives"),
    Route("POST", "/archives", archives.create_archive, OPERATE, REFUSED, "archives", 201),
    Route("GET", "/archives/{archive_id}", archives.get_archive, PATIENTS, FILTERED, "archives"),
    Route("PATCH", "/archives/{archive_id}", archives.rename_archive, OPERATE, REFUSED, "archives"),
    Route(
        "DELETE",
        "/archives/{archive_id}",
        archives.delete_archive,
        OPERATE,
        REFUSED,
        "archives",
        204,
    ),
    Route("PUT", _IN_ARCHIVE, archives.put_into_archive, PATIENTS, FILTERED, "archives", 204),
    Route("DELETE", _IN_ARCHIVE, archives.take_out_of_archive, PATIENTS, FILTERED, "archives", 204),
    Route("GET", "/alarms", oversight.list_alarms, ALARMS, REFUSED, "oversight"),
    Route(
        "POST",
        "/alarms/{alarm_id}/acknowledge",
        oversight.acknowledge_alarm,
        ALARMS - {Role.AUDITOR},
        REFUSED,
        "oversight",
    ),
    Route("GET", "/audit", oversight.list_audit, AUDIT, REFUSED, "oversight"),
    Route("GET", "/audit/head", oversight.audit_head, AUDIT, REFUSED, "oversight"),
    Route("GET", "/audit/export", audit_export.get_audit_export, AUDIT, REFUSED, "oversight"),
    Route("PUT", "/audit/export", audit_export.put_audit_export, PEOPLE, REFUSED, "oversight"),
    Route(
        "DELETE",
        "/audit/export",
        audit_export.remove_audit_export,
        PEOPLE,
        REFUSED,
        "oversight",
        204,
    ),
    Route("GET", "/audit/verify", oversight.verify_audit, AUDIT, REFUSED, "oversight"),
)


def _qido(path: str, endpoint: Callable[..., Any], *levels: Mapping[str, str]) -> Route:
    return Route(
        "GET",
        path,
        endpoint,
        PATIENTS,
        FILTERED,
        "dicomweb",
        media=JSON,
        may_be_empty=True,
        parameters=tuple(search_parameters(*levels)),
        refuses=frozenset({406, 413}),
    )


def _wado(
    path: str,
    endpoint: Callable[..., Any],
    media: str = MULTIPART,
    *more: str,
    ranged: bool = False,
) -> Route:
    return Route(
        "GET",
        path,
        endpoint,
        PATIENTS,
        FILTERED,
        "dicomweb",
        media=media,
        or_media=more,
        refuses=frozenset({406, 408, 413, 422}),
        ranged=ranged,
    )


def _picture(path: str, endpoint: Callable[..., Any], *more: str, ranged: bool = False) -> Route:
    return _wado(path, endpoint, JPEG, PNG, *more, ranged=ranged)


def _stow(path: str, endpoint: Callable[..., Any]) -> Route:
    return Route(
        "POST",
        path,
        endpoint,
        PATIENTS,
        BY_FACILITY,
        "dicomweb",
        media=JSON,
        also=((202, "Some were not stored"), (409, "None was stored")),
        body=STORE_BODY,
        refuses=frozenset({406, 415}),
    )


ALL_KEYS: Final = (STUDY_KEYS, SERIES_KEYS, INSTANCE_KEYS)
_SERIES: Final = "/studies/{study}/series/{series}"
_INSTANCE: Final = f"{_SERIES}/instances/{{instance}}"
DICOMWEB: Final = (
    _qido("/series", search.search_all_series, STUDY_KEYS, SERIES_KEYS),
    _qido("/instances", search.search_all_instances, *ALL_KEYS),
    _qido("/studies/{study}/instances", search.search_study_instances, *ALL_KEYS),
    _qido("/studies", search.search_studies, STUDY_KEYS),
    _stow("/studies", stow.store_instances),
    _stow("/studies/{study}", stow.store_study_instances),
    _wado("/studies/{study}", wado.retrieve_study),
    _wado("/studies/{study}/metadata", wado.study_metadata, JSON),
    _qido("/studies/{study}/series", search.search_series, STUDY_KEYS, SERIES_KEYS),
    _wado(_SERIES, wado.retrieve_series),
    _wado(f"{_SERIES}/metadata", wado.series_metadata, JSON),
    _qido(f"{_SERIES}/instances", search.search_instances, *ALL_KEYS),
    _wado(_INSTANCE, wado.retrieve_instance, MULTIPART, DICOM, ranged=True),
    _wado(f"{_INSTANCE}/metadata", wado.instance_metadata, JSON),
    _wado(f"{_INSTANCE}/frames/{{frames}}", wado.retrieve_frames),
    _wado(
        f"{_INSTANCE}/bulkdata/{{tag}}",
        wado.retrieve_bulk_data,
        MULTIPART,
        *PIXEL_MEDIA,
        ranged=True,
    ),
    _picture(f"{_INSTANCE}/rendered", wado.retrieve_rendered, MP4, "video/mpeg", ranged=True),
    _picture(f"{_INSTANCE}/frames/{{frames}}/rendered", wado.retrieve_rendered_frames, MULTIPART),
    _picture("/studies/{study}/thumbnail", rendered.study_thumbnail),
    _picture(f"{_SERIES}/thumbnail", rendered.series_thumbnail),
    _picture(f"{_INSTANCE}/thumbnail", wado.instance_thumbnail),
    _picture(f"{_INSTANCE}/frames/{{frames}}/thumbnail", wado.frame_thumbnail),
)

TABLES: Final = ((PREFIX, ROUTES), (DICOMWEB_PREFIX, DICOMWEB))


def _prose(endpoint: Callable[..., Any]) -> tuple[str | None, str | None]:
    """Return title and description of an endpoint whose docstring has both.

    Else FastAPI makes them.
    """
    title, _, rest = inspect.cleandoc(endpoint.__doc__ or "").partition("\n\n")
    return (title.removesuffix("."), rest) if rest else (None, None)


def _extra(route: Route) -> dict[str, Any]:
    """Return what the document says of a route beside what FastAPI knows."""
    ranged = RANGE_PARAMETERS if route.ranged else ()
    body = {"requestBody": route.body} if route.body is not None else {}
    return {
        ROLES_KEY: sorted(route.roles),
        LIMITED_KEY: route.limited,
        REFUSES_KEY: sorted(route.refuses | ({416} if route.ranged else set())),
        "security": [{"token": []}],
        "parameters": [*route.parameters, *ranged],
        **body,
    }


def router(prefix: str, routes: Sequence[Route]) -> APIRouter:
    """Give the routes of one table, each guarded by its roles."""
    api = APIRouter(prefix=prefix, route_class=GuardedRoute)
    for route in routes:
        summary, description = _prose(route.endpoint)
        extra = _extra(route)
        if route.ranged:
            api.add_api_route(
                route.path,
                route.endpoint,
                methods=["HEAD"],
                openapi_extra=extra,
                include_in_schema=False,
            )
        api.add_api_route(
            route.path,
            route.endpoint,
            methods=[route.method],
            status_code=route.status,
            response_class=Response if route.described else JSONResponse,
            responses=route.described,
            tags=[route.tag],
            operation_id=route.endpoint.__name__,
            summary=summary,
            description=description,
            openapi_extra=extra,
        )
    return api
