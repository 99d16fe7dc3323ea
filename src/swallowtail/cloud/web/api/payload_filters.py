"""The parameters by which deliveries are found by their payload, from the table of kinds."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Query

from swallowtail.cloud.dispatch.payloads.conditions import Conditions, conditions
from swallowtail.cloud.dispatch.payloads.kind import Kinds, searchable_fields


def query_filters(kinds: Kinds) -> Callable[..., Conditions]:
    """Create the dependency that reads these conditions from the query string.

    Its parameters are `kind` and every searchable field.
    """
    fields = list(searchable_fields(kinds))

    def read(**given: str | None) -> Conditions:
        return conditions(kinds, given)

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
