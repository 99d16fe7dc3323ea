"""The conditions by which deliveries are found by their payload, from the table of kinds."""

import re
from collections.abc import Mapping

from swallowtail.cloud.dispatch.payloads.kind import Kinds, searchable_fields
from swallowtail.cloud.model.use_case_errors import InvalidValueError

Conditions = Mapping[str, str]
"""Values by the attributes of `DeliverySearch`."""


def named_conditions(kinds: Kinds, given: Mapping[str, str], *, field: str) -> Conditions:
    """Return the conditions that a body names under `field`."""
    patterns = {one.name: one.pattern for one in searchable_fields(kinds)} | {"kind": None}
    for name, value in given.items():
        if name not in patterns:
            raise InvalidValueError(
                f"{field}.{name}", f"deliveries are found by {', '.join(sorted(patterns))}"
            )
        if (pattern := patterns[name]) is not None and re.fullmatch(pattern, value) is None:
            raise InvalidValueError(f"{field}.{name}", f"{value!r} does not match {pattern}")
    return conditions(kinds, given)


def conditions(kinds: Kinds, given: Mapping[str, str | None]) -> Conditions:
    """Return the conditions of parameters or keys that are given; raises InvalidValueError."""
    attributes = {field.name: field.attribute for field in searchable_fields(kinds)}
    found: dict[str, str] = {}
    for name, value in given.items():
        attribute = attributes.get(name, name)
        if value is None:
            continue
        if attribute in found:
            raise InvalidValueError(
                name, "two names of the same condition are given; leave one out"
            )
        found[attribute] = value
    return found
