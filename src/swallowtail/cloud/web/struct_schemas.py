"""The schemas of structs in the API's document, so that a configuration is specified once."""

from typing import Any

import msgspec

from swallowtail.calls.config import make_protocol_optional


def inline_schema(kind: type[msgspec.Struct], *, closed: bool = True) -> dict[str, Any]:
    """Return the JSON Schema of a struct with every definition inline.

    `closed`: it allows no other keys. What we send is not closed, since the API grows by addition.
    """
    (schema,), definitions = msgspec.json.schema_components([kind], ref_template="{name}")
    make_protocol_optional(definitions)
    expanded: dict[str, Any] = _expanded(schema, definitions, closed=closed)
    return expanded


def merge_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a change to a struct.

    Every key may be left out, and null stands for its default (RFC 7396).
    """
    return _partial(inline_schema(kind))


def _expanded(schema: Any, definitions: dict[str, Any], *, closed: bool) -> Any:
    if isinstance(schema, list):
        return [_expanded(item, definitions, closed=closed) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(name := schema.get("$ref"), str):
        return _expanded(definitions[name], definitions, closed=closed)
    kept = {key: value for key, value in schema.items() if closed or key != "additionalProperties"}
    return {key: _expanded(value, definitions, closed=closed) for key, value in kept.items()}


def _partial(schema: dict[str, Any]) -> dict[str, Any]:
    if "properties" not in schema:
        return schema
    properties = {
        name: {"anyOf": [_partial(value), {"type": "null"}]}
        for name, value in schema["properties"].items()
    }
    return {key: value for key, value in schema.items() if key != "required"} | {
        "properties": properties
    }
