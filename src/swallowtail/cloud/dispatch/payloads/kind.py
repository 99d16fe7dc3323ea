"""A payload kind as people see it: its fields in the API, and how its status is written."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from swallowtail.cloud.model.delivery import Payload

SEARCHABLE: Final = frozenset({"parent", "identifier"})
"""Attributes of a payload by which deliveries are found."""


@dataclass(frozen=True, slots=True)
class PayloadField:
    """A field of a payload under the name that its standard gives it."""

    name: str
    attribute: str
    """The attribute of `Payload` that holds it."""
    schema: Mapping[str, Any]
    """JSON Schema of its value."""
    pattern: str | None = None
    """Regular expression of values that are searched for."""

    @property
    def searchable(self) -> bool:
        """Return whether deliveries are found by it."""
        return self.attribute in SEARCHABLE


@dataclass(frozen=True, slots=True)
class PayloadKind:
    """One kind of payload."""

    name: str
    fields: tuple[PayloadField, ...]
    write_status: Callable[[int], str] = str
    """Writes the status that a destination of this kind responds with."""

    def represent(self, payload: Payload) -> dict[str, Any]:
        """Return the payload as the API shows it."""
        shown = {field.name: getattr(payload, field.attribute) for field in self.fields}
        return {"kind": self.name, **shown}

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of `represent`."""
        properties = {field.name: dict(field.schema) for field in self.fields}
        return {
            "type": "object",
            "title": f"Payload: {self.name}",
            "properties": {"kind": {"const": self.name, "type": "string"}, **properties},
            "required": ["kind", *properties],
        }


Kinds = Mapping[str, PayloadKind]


def searchable_fields(kinds: Kinds) -> Iterable[PayloadField]:
    """Return the fields by which deliveries of any of these kinds are found, each name once."""
    return {
        field.name: field for kind in kinds.values() for field in kind.fields if field.searchable
    }.values()
