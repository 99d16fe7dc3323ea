"""The parameters by which deliveries are found by their payload, from the table of kinds."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import Query

from swallowtail.cloud.dispatch.payloads.kind import Kinds, searchable_fields
from swallowtail.cloud.web.problems import invalid

Conditions = Mapping[str, str]
"""Values by the attributes of `DeliverySearch`."""


def query_filters(kinds: Kinds) -> Callable[..., Conditions]:
    """Create the dependency that reads these conditions from the query string.

    Its parameters are `kind` and every searchable field.
    """
    fields = list(searchable_fields(kinds))

    def read(**given: str | None) -> Conditions:
        return _conditions(kinds, given)

    options = {
        field.name: Annotated[
            str | None, Query(max_length=field.schema.get("maxLength"), pattern=field.pattern)
        ]
        for field in fields
    }
    options["kind"] = Annotated[str | None, Query(max_length=32, description="Payload kind.")]
    read.__signature__ = inspect.Signature(  # type: ignore[attr-defined] # FastAPI reads it
        [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
            )
            for name, annotation in options.items()
        ]
    )
    return read


def body_filters(kinds: Kinds, given: Mapping[str, str], *, field: str) -> Conditions:
    """Return the conditions that a body names under `field`."""
    patterns = {one.name: one.pattern for one in searchable_fields(kinds)} | {"kind": None}
    for name, value in given.items():
        if name not in patterns:
            raise invalid(
                f"{field}.{name}", f"deliveries are found by {', '.join(sorted(patterns))}"
            )
        if (pattern := patterns[name]) is not None and re.fullmatch(pattern, value) is None:
            raise invalid(f"{field}.{name}", f"{value!r} does not match {pattern}")
    return _conditions(kinds, given)


def body_schema(kinds: Kinds) -> dict[str, Any]:
    """Return the JSON Schema of what `body_filters` reads."""
    fields = {
        field.name: {**field.schema, **({"pattern": field.pattern} if field.pattern else {})}
        for field in searchable_fields(kinds)
    }
    return {
        "type": "object",
        "properties": {"kind": {"type": "string", "enum": sorted(kinds)}, **fields},
        "additionalProperties": False,
    }


def _conditions(kinds: Kinds, given: Mapping[str, str | None]) -> Conditions:
    attributes = {field.name: field.attribute for field in searchable_fields(kinds)}
    found: dict[str, str] = {}
    for name, value in given.items():
        attribute = attributes.get(name, name)
        if value is None:
            continue
        if attribute in found:
            raise invalid(name, "two names of the same condition are given; leave one out")
        found[attribute] = value
    return found
