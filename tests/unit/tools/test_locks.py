"""The locks hold what pyproject.toml asks for, agree with each other and name no address.

When one fails: `make lock`.
"""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ENTRY = re.compile(
    r"^(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?: ; (?P<marker>.*?))? \\\n(?P<hashes>(?:   "
    r" --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)",
    re.MULTILINE,
)
LOCKS = ("demo", "dev", "fuzz", "link")
PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]


def locked(lock: str) -> dict[str, set[str]]:
    versions: dict[str, set[str]] = {}
    for entry in ENTRY.finditer(Path(f"requirements/{lock}.lock").read_text(encoding="utf-8")):
        versions.setdefault(entry["name"], set()).add(entry["version"])
    return versions


def asked(lock: str) -> list[Requirement]:
    """What pyproject.toml asks for, with the extras that an extra includes."""
    extras, found, waiting = (
        PROJECT["optional-dependencies"],
        list(PROJECT["dependencies"]),
        [] if lock == "link" else [lock],
    )
    while waiting:
        for word in extras[waiting.pop()]:
            requirement = Requirement(word)
            if requirement.name == PROJECT["name"]:
                waiting.extend(requirement.extras)
            else:
                found.append(word)
    return [Requirement(word) for word in found]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_locked_at_a_version_it_allows(lock: str) -> None:
    held = locked(lock)
    for requirement in asked(lock):
        assert any(
            requirement.specifier.contains(version)
            for version in held.get(canonicalize_name(requirement.name), ())
        ), requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_entries_with_hashes_and_nothing_else(lock: str) -> None:
    text = Path(f"requirements/{lock}.lock").read_text(encoding="utf-8")
    assert [line for line in ENTRY.sub("", text).splitlines() if not line.startswith("#")] == []


def test_the_locks_agree_so_that_one_environment_serves_all() -> None:
    dev = locked("dev")
    assert locked("demo").keys() <= dev.keys()
    for lock in ("demo", "fuzz", "link"):
        held = locked(lock)
        assert {name: held[name] for name in held.keys() & dev.keys()} == {
            name: dev[name] for name in held.keys() & dev.keys()
        }


@pytest.mark.parametrize("name", ["pydicom", "pynetdicom", "numpy", "sqlalchemy", "fastapi"])
def test_link_is_installed_without_the_clouds_libraries(name: str) -> None:
    assert name not in locked("link")
