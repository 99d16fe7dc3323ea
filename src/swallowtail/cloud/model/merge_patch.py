"""JSON Merge Patch (RFC 7396)."""

from typing import Any


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Merge a change into an object: key by key, null removes."""
    found = dict(old)
    for key, value in new.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict) and isinstance(there := found.get(key), dict):
            found[key] = merged(there, value)
        else:
            found[key] = value
    return found
