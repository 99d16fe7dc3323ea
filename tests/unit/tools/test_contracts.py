"""The import contracts cover every module."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"][
    "importlinter"
]["contracts"]
LAYERED = {
    container: contract
    for contract in CONTRACTS
    if contract["type"] == "layers"
    for container in contract["containers"]
}


def members(container: str) -> set[str]:
    folder = ROOT.joinpath("src", *container.split("."))
    found = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    return found | {path.parent.name for path in folder.glob("*/__init__.py")}


@pytest.mark.parametrize("container", ["swallowtail", "swallowtail.link", "swallowtail.cloud"])
def test_every_package_and_module_has_a_layer(container: str) -> None:
    contract = LAYERED[container]
    assert contract["exhaustive"] is True
    named = {
        name.strip(" \n()")
        for layer in contract["layers"]
        for part in layer.split("|")
        for name in part.split(":")
    }
    assert members(container) - named == set()


def test_every_contract_names_what_exists() -> None:
    for contract in CONTRACTS:
        for name in (*contract.get("source_modules", ()), *contract.get("containers", ())):
            assert ROOT.joinpath("src", *name.split(".")).exists(), name
