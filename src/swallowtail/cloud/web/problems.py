"""Problem details of the API (RFC 9457), and the one mapping of errors to HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from swallowtail.calls.config import InvalidConfigurationError
from swallowtail.cloud.dispatch.rule_editing import InvalidRuleError
from swallowtail.cloud.model.link_session import LinkOfflineError
from swallowtail.cloud.model.port_errors import (
    CloudError,
    ConflictError,
    FencedError,
    InvalidCursorError,
    NotFoundError,
    StorageUnavailableError,
    TooLargeError,
)
from swallowtail.cloud.model.use_case_errors import (
    AmbiguousFacilityError,
    ForbiddenError,
    InvalidValueError,
)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER: Final = 5
"""Seconds."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong, and where: a JSON path, or the name of a parameter."""

    field: str
    message: str


class ProblemError(Exception):
    """A failure with what the client needs: what failed, where, and what to do next."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        remedy: str = "",
        faults: tuple[FieldError, ...] = (),
        retry_after: int = RETRY_AFTER,
    ) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
        self.status, self.code, self.detail, self.remedy, self.faults = (
            status,
            code,
            detail,
            remedy,
            faults,
        )


def invalid(field: str, message: str) -> ProblemError:
    """Return the problem that one value of the request is invalid."""
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid",
        f"{field}: {message}",
        remedy="Correct the named fields and send the request again.",
        faults=(FieldError(field, message),),
    )


MAPPED: Final[Mapping[type[CloudError], tuple[HTTPStatus, str, str]]] = {
    NotFoundError: (
        HTTPStatus.NOT_FOUND,
        "not-found",
        "Check the id; list the collection to see what there is.",
    ),
    ForbiddenError: (
        HTTPStatus.FORBIDDEN,
        "forbidden",
        "Use a token whose role and limits allow this.",
    ),
    AmbiguousFacilityError: (
        HTTPStatus.BAD_REQUEST,
        "facility",
        "Name the facility's id with ?facility=….",
    ),
    ConflictError: (HTTPStatus.CONFLICT, "conflict", "Read the present state, then decide again."),
    FencedError: (HTTPStatus.CONFLICT, "fenced", "Nothing to do: the newer session goes on."),
    InvalidCursorError: (HTTPStatus.BAD_REQUEST, "cursor", "Start the list again without cursor."),
    TooLargeError: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", "Send less at once."),
    LinkOfflineError: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "link-offline",
        "Look at the Link's host, its network and its code, then try again.",
    ),
    StorageUnavailableError: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "storage",
        "Nothing was kept. Try again later; the operator sees the cause in the log.",
    ),
    CloudError: (
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        "Contact the operator; the log has the cause.",
    ),
}


def problem_of(error: Exception) -> ProblemError:
    """Return the problem details of an error.

    An unexpected error discloses nothing of its cause.
    """
    match error:
        case ProblemError():
            return error
        case InvalidRuleError():
            faults = tuple(FieldError(problem.field, problem.message) for problem in error.problems)
            return _unprocessable("the rule cannot be kept", "invalid-rule", faults)
        case InvalidValueError():
            return invalid(error.field, str(error))
        case CloudError():
            kind = next(kind for kind in type(error).__mro__ if kind in MAPPED)
            status, code, remedy = MAPPED[kind]
            return ProblemError(status, code, str(error), remedy=remedy)
        case InvalidConfigurationError():
            faults = tuple(FieldError(problem.field, problem.message) for problem in error.problems)
            return _unprocessable(
                "the configuration cannot be run", "invalid-configuration", faults
            )
        case RequestValidationError():
            faults = tuple(
                FieldError(_where(fault["loc"]), fault["msg"]) for fault in error.errors()
            )
            return _unprocessable("the request cannot be read", "invalid", faults)
        case HTTPException(
            __cause__=ProblemError() as ours
        ):  # the guard's, while FastAPI read the body for it
            return ours
        case HTTPException():
            return _of_http(error)
        case _:
            return ProblemError(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                "internal",
                "this is a fault of the Cloud",
                remedy=MAPPED[CloudError][2],
            )


def _unprocessable(what: str, code: str, faults: tuple[FieldError, ...]) -> ProblemError:
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        code,
        f"{what}: " + "; ".join(f"{fault.field}: {fault.message}" for fault in faults),
        remedy="Correct the named fields and send the request again.",
        faults=faults,
    )


def _where(location: tuple[int | str, ...]) -> str:
    """Turn FastAPI's location into a path.

    ("body", "listeners", 0, "port") becomes $.listeners[0].port.
    """
    origin, *rest = location
    if origin != "body":
        return ".".join(map(str, rest))
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)


_RENAMED: Final = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}


def title_of(status: int) -> str:
    """Return the name of a status (RFC 9110 15), the same on every release of Python.

    3.13 has renamed some.
    """
    return _RENAMED.get(status) or HTTPStatus(status).phrase


def _of_http(error: HTTPException) -> ProblemError:
    status = HTTPStatus(error.status_code)
    remedies = {
        HTTPStatus.NOT_FOUND: "See /openapi.json for the paths that there are.",
        HTTPStatus.METHOD_NOT_ALLOWED: "See /openapi.json for the methods of this path.",
    }
    return ProblemError(
        status,
        title_of(status).lower().replace(" ", "-"),
        str(error.detail),
        remedy=remedies.get(status, "See /openapi.json for what this path takes."),
    )


def response_of(problem: ProblemError) -> Response:
    """Write the problem down."""
    body: dict[str, Any] = {
        "type": f"urn:swallowtail:problem:{problem.code}",
        "title": title_of(problem.status),
        "status": int(problem.status),
        "code": problem.code,
        "detail": problem.detail,
        "remedy": problem.remedy,
    }
    if problem.faults:
        body["errors"] = [
            {"field": fault.field, "message": fault.message} for fault in problem.faults
        ]
    headers = {}
    if problem.status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="swallowtail"'
    if problem.status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
        headers["Retry-After"] = str(problem.retry_after)
    return JSONResponse(body, problem.status, headers, MEDIA_TYPE)


async def answer_problem(_: Request, error: Exception) -> Response:
    """Handle a failed request; registered for every known exception."""
    return response_of(problem_of(error))
