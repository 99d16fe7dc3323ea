"""One pattern in all handlers: a row names a use case, and its handler calls exactly that one.

A use case authorises the caller, records the audit event and makes the change (ADR 0031). Nothing
else that a handler can reach does either: a port, the bus and the live sessions are none of its
parameters and none of its imports.
"""

import ast
import inspect
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import swallowtail.cloud.web
from swallowtail.cloud.ingest.instance_upload import InstanceUpload
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.web import routes
from swallowtail.cloud.web.dicomweb.retrieval import Retrieval
from swallowtail.cloud.web.route import Route
from swallowtail.cloud.web.use_cases import UseCases
from tests.unit.cloud.web.conftest import Cloud

WEB = Path(next(iter(swallowtail.cloud.web.__path__)))
STORES = ("swallowtail.cloud.records", "swallowtail.cloud.blobs", "swallowtail.cloud.bus")
ALL = [route for _, table in routes.TABLES for route in table]
REST = [route for route in ALL if route.tag != "dicomweb"]
DICOMWEB = [route for route in ALL if route.tag == "dicomweb"]
FORMATTED = {
    *(f"{one}.search" for one in ("study", "series", "instance")),
    *(f"delivery.{one}" for one in ("park", "resend", "retry", "skip")),
}
"""Audit events whose type a use case puts together."""
STATIC = {"configuration_schema"}
"""Answers that depend on no store."""


def calls(route: Route) -> Iterator[tuple[str, str]]:
    """Yield parameter and method of each call that a handler makes on one of its parameters."""
    endpoint = route.endpoint
    assert isinstance(endpoint, FunctionType)
    parameters = set(inspect.signature(endpoint).parameters)
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(endpoint)))):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in parameters:
                yield name, attribute


def provided_classes(route: Route) -> dict[str, type]:
    """Return the classes of use cases that a handler takes, by parameter."""
    hints = typing.get_type_hints(route.endpoint, include_extras=True)
    found: dict[str, type] = {}
    for name, hint in hints.items():
        if typing.get_origin(hint) is typing.Annotated and _is_provided(hint):
            found[name] = typing.get_args(hint)[0]
    return found


def _is_provided(hint: Any) -> bool:
    dependencies = (getattr(one, "dependency", None) for one in hint.__metadata__)
    return any(one.__qualname__ == "provided.<locals>.get" for one in dependencies if one)


@pytest.mark.parametrize("route", REST, ids=lambda route: route.endpoint.__name__)
def test_a_handler_calls_the_use_case_that_its_row_names(route: Route) -> None:
    if route.use_case is None:
        assert route.endpoint.__name__ in STATIC
        return
    classes = provided_classes(route)
    called = {method for parameter, method in calls(route) if parameter in classes}
    (kind,) = classes.values()
    assert getattr(kind, route.use_case.__name__) is route.use_case
    assert called == {route.use_case.__name__}


@pytest.mark.parametrize("route", DICOMWEB, ids=lambda route: route.endpoint.__name__)
def test_handlers_of_dicomweb_reach_the_use_cases_of_a_retrieval_or_an_upload_only(
    route: Route,
) -> None:
    """They search, locate and read in one request, through functions that they share."""
    hints = typing.get_type_hints(route.endpoint)
    classes = set(provided_classes(route).values())
    assert hints["caller"] is Retrieval or classes == {InstanceUpload}
    reachable = {*classes, *typing.get_type_hints(Retrieval).values()}
    assert route.use_case is not None
    assert any(getattr(kind, route.use_case.__name__, None) is route.use_case for kind in reachable)
    module = inspect.getmodule(route.endpoint)
    assert module is not None
    assert f".{route.use_case.__name__}(" in inspect.getsource(module)


def test_every_change_names_its_audit_event() -> None:
    silent = {"ping_link", "check_destination", "dry_run", "dismiss_unknown_device"}
    for route in ALL:
        if route.method != "GET" and route.endpoint.__name__ not in silent:
            assert route.audit, (route.method, route.path)


def test_the_audit_event_of_a_row_is_the_one_of_its_use_case() -> None:
    for route in REST:
        if route.audit and "{" not in route.audit:
            assert route.use_case is not None
            module = inspect.getmodule(route.use_case)
            assert module is not None
            assert module.__file__ is not None
            package = Path(module.__file__).parent
            sources = "".join(file.read_text() for file in package.glob("*.py"))
            assert f'"{route.audit}"' in sources or route.audit in FORMATTED, route.path


async def test_no_use_case_is_a_store(cloud: Cloud) -> None:
    use_cases: UseCases = cloud.use_cases
    for kind in use_cases:
        assert not kind.__module__.startswith(STORES), kind


def test_the_caller_carries_no_store() -> None:
    assert set(Caller.__dataclass_fields__) == {"principal", "tenant", "address"}
