"""Compares two OpenAPI documents: the API changes only by addition.

A client of the old document must work with the new one. What it sent must still be accepted, and
what it read must still be there. Additions pass.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

METHODS: Final = ("get", "put", "post", "delete", "patch", "head")
LOWER_BOUNDS: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems")
UPPER_BOUNDS: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
ANY: Final = frozenset({"any"})
"""The types of a schema that names none."""

Schema = Mapping[str, Any]


def incompatibilities(old: Schema, new: Schema) -> list[str]:
    """Return what a client of the old document would miss in the new one, one sentence each."""
    return sorted(set(_Comparison(old, new).run()))


class _Comparison:
    """Two documents, whose references it resolves."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new
        self._open: set[tuple[str, str, bool]] = set()

    def run(self) -> Iterator[str]:
        for path, methods in self._old["paths"].items():
            if path not in self._new["paths"]:
                yield f"{path}: the path is removed"
                continue
            for method in METHODS:
                if method not in methods:
                    continue
                where = f"{method.upper()} {path}"
                if method not in self._new["paths"][path]:
                    yield f"{where}: the method is removed"
                else:
                    yield from self._operation(
                        where, methods[method], self._new["paths"][path][method]
                    )

    def _operation(self, where: str, old: Schema, new: Schema) -> Iterator[str]:
        for role in sorted({*old.get("x-roles", ())} - {*new.get("x-roles", ())}):
            yield f"{where}: the role {role} is no longer allowed"
        yield from self._parameters(where, old, new)
        yield from self._request_body(where, old, new)
        for status, answer in old.get("responses", {}).items():
            if not status.startswith("2"):
                continue
            if status not in new.get("responses", {}):
                yield f"{where}: the response {status} is removed"
                continue
            yield from self._content(
                f"{where} {status}", answer, new["responses"][status], request=False
            )

    def _parameters(self, where: str, old: Schema, new: Schema) -> Iterator[str]:
        before = {(one["in"], one["name"]): one for one in old.get("parameters", ())}
        after = {(one["in"], one["name"]): one for one in new.get("parameters", ())}
        for key, parameter in before.items():
            name = f"{where}: the parameter {key[1]}"
            if key not in after:
                yield f"{name} is removed"
                continue
            if after[key].get("required") and not parameter.get("required"):
                yield f"{name} is now required"
            yield from self._schema(
                name, parameter.get("schema", {}), after[key].get("schema", {}), request=True
            )
        for key, parameter in after.items():
            if key not in before and parameter.get("required"):
                yield f"{where}: the parameter {key[1]} is new and required"

    def _request_body(self, where: str, old: Schema, new: Schema) -> Iterator[str]:
        before, after = old.get("requestBody"), new.get("requestBody")
        if before is None:
            if after is not None and after.get("required"):
                yield f"{where}: a body is now required"
            return
        if after is None:
            yield f"{where}: the body is removed"
            return
        if after.get("required") and not before.get("required"):
            yield f"{where}: a body is now required"
        yield from self._content(f"{where} body", before, after, request=True)

    def _content(self, where: str, old: Schema, new: Schema, *, request: bool) -> Iterator[str]:
        for media, content in old.get("content", {}).items():
            if media not in new.get("content", {}):
                yield f"{where}: the media type {media} is removed"
                continue
            schemas = content.get("schema", {}), new["content"][media].get("schema", {})
            yield from self._schema(where, *schemas, request=request)

    def _schema(self, where: str, old: Schema, new: Schema, *, request: bool) -> Iterator[str]:
        visit = (str(old.get("$ref", "")), str(new.get("$ref", "")), request)
        if visit[0] and visit in self._open:
            return
        self._open.add(visit)
        try:
            yield from self._resolved(
                where, _resolve(old, self._old), _resolve(new, self._new), request=request
            )
        finally:
            self._open.discard(visit)

    def _resolved(self, where: str, old: Schema, new: Schema, *, request: bool) -> Iterator[str]:
        yield from _types(where, self._kinds(old, self._old), self._kinds(new, self._new), request)
        before, after = _alternatives(old, self._old), _alternatives(new, self._new)
        if len(before) == 1 and len(after) == 1:
            yield from self._one(where, before[0], after[0], request=request)
            return
        for one in before:
            if not any(not [*self._one(where, one, other, request=request)] for other in after):
                yield f"{where}: an alternative is removed or changed"

    def _one(self, where: str, old: Schema, new: Schema, *, request: bool) -> Iterator[str]:
        yield from _values(where, old, new, request=request)
        if request:
            yield from _bounds(where, old, new)
        yield from self._properties(where, old, new, request=request)
        if isinstance(old.get("items"), dict) and isinstance(new.get("items"), dict):
            yield from self._schema(f"{where}[]", old["items"], new["items"], request=request)
        before, after = old.get("additionalProperties"), new.get("additionalProperties")
        if isinstance(before, dict) and isinstance(after, dict):
            yield from self._schema(f"{where}.*", before, after, request=request)
        if request and before is not False and after is False and old.get("type") == "object":
            yield f"{where}: other keys are no longer accepted"

    def _properties(self, where: str, old: Schema, new: Schema, *, request: bool) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        required = {*old.get("required", ())}, {*new.get("required", ())}
        for name, schema in before.items():
            if name not in after:
                yield f"{where}.{name}: the field is removed"
                continue
            yield from self._schema(f"{where}.{name}", schema, after[name], request=request)
        if request:
            for name in sorted(required[1] - required[0]):
                yield f"{where}.{name}: the field is now required"
        else:
            for name in sorted((required[0] - required[1]) & {*after}):
                yield f"{where}.{name}: the field may now be absent"

    def _kinds(self, schema: Schema, document: Schema) -> frozenset[str]:
        """Return the types that a schema allows."""
        schema = _resolve(schema, document)
        if "anyOf" in schema or "oneOf" in schema:
            parts = schema.get("anyOf", schema.get("oneOf", ()))
            return frozenset().union(*(self._kinds(one, document) for one in parts))
        if "type" not in schema:
            return ANY
        named = schema["type"]
        return frozenset([named] if isinstance(named, str) else named)


def _resolve(schema: Schema, document: Schema) -> Schema:
    while "$ref" in schema:
        target: Any = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        schema = target
    return schema


def _alternatives(schema: Schema, document: Schema) -> list[Schema]:
    """Return the alternatives of a schema except null, which is among its types."""
    parts = schema.get("anyOf", schema.get("oneOf", (schema,)))
    resolved = [_resolve(one, document) for one in parts]
    return [one for one in resolved if one.get("type") != "null"] or [{}]


def _types(where: str, old: frozenset[str], new: frozenset[str], request: bool) -> Iterator[str]:
    """Compare types: a request may come to accept more, a response may come to hold less."""
    narrow, wide = (old, new) if request else (new, old)
    if wide == ANY or (narrow == ANY and not request and old == ANY):
        return
    covered = wide | ({"integer"} if "number" in wide else set())
    if not narrow <= covered:
        yield (f"{where}: the type is changed from {_named(old)} to {_named(new)}")


def _named(types: frozenset[str]) -> str:
    return " or ".join(sorted(types))


def _values(where: str, old: Schema, new: Schema, *, request: bool) -> Iterator[str]:
    before, after = old.get("enum"), new.get("enum")
    if before is None:
        if request and after is not None:
            yield f"{where}: only some values are accepted now"
        return
    if after is not None:
        for value in before:
            if value not in after:
                yield f"{where}: the value {value!r} is removed"


def _bounds(where: str, old: Schema, new: Schema) -> Iterator[str]:
    for names, worse in ((LOWER_BOUNDS, 1), (UPPER_BOUNDS, -1)):
        for name in names:
            before, after = old.get(name), new.get(name)
            if after is not None and (before is None or (after - before) * worse > 0):
                yield f"{where}: {name} is narrowed to {after}"
    for name in ("pattern", "format"):
        if name in new and new[name] != old.get(name):
            yield f"{where}: {name} is narrowed to {new[name]}"
