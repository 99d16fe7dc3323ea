"""The page "Add a DIMSE service": what it names exists, and no other file names a service."""

import re
from pathlib import Path

import pytest

from swallowtail.calls.dimse_services.table import SERVICES
from swallowtail.link.scp.services.table import PROVIDERS

ROOT = Path(__file__).parents[5]
PAGE = (ROOT / "docs/howto/add-a-dimse-service.md").read_text(encoding="utf-8")
MOST_EDITED = 4


def test_the_page_is_short_and_its_files_are_there() -> None:
    assert len(PAGE.splitlines()) <= 40
    edited = re.findall(r"^\| edit \| `([^`]+)`", PAGE, re.MULTILINE)
    assert len(edited) <= MOST_EDITED
    for file in [*edited, *re.findall(r"`(tests/[^`]+)`", PAGE)]:
        assert (ROOT / file).is_file(), file


def test_every_declaration_has_its_provider() -> None:
    assert [provider.declaration for provider in PROVIDERS] == list(SERVICES)


@pytest.mark.parametrize("provider", tuple(PROVIDERS))
def test_no_other_file_of_the_product_names_a_provider(provider: type) -> None:
    """A provider is known by its class's name; who else used it would have to be edited."""
    naming = {
        path.relative_to(ROOT / "src/swallowtail/link/scp/services").as_posix()
        for path in (ROOT / "src").rglob("*.py")
        if re.search(rf"\b{provider.__name__}\b", path.read_text(encoding="utf-8"))
    }
    own = provider.__module__.removeprefix("swallowtail.link.scp.services.").replace(".", "/")
    assert naming == {"table.py", f"{own}.py"}
