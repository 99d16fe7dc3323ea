"""The page "Add a REST resource": a resource that is entered where the page says, and nowhere
else, has its routes, its roles, its audit and its place in the document.
"""

import ast
import re
from pathlib import Path

import httpx2
import pytest

import swallowtail.cloud
from swallowtail.cloud.composition import use_cases
from swallowtail.cloud.model.audit import AuditSearch
from swallowtail.cloud.model.tenancy import Role
from swallowtail.cloud.web import app, routes
from swallowtail.cloud.web.hosts import HostNames
from swallowtail.cloud.web.openapi_document import describe
from swallowtail.cloud.web.use_cases import UseCases
from tests.rest_note import ROUTES, NoteAdministration
from tests.unit.cloud.web.conftest import HERON, NOW, Cloud

CLOUD = Path(next(iter(swallowtail.cloud.__path__)))
ROOT = CLOUD.parents[2]
PAGE = (ROOT / "docs/howto/add-a-rest-resource.md").read_text(encoding="utf-8")
MOST_EDITED = 2


def files(kind: str) -> list[str]:
    return re.findall(rf"^\| {kind} \| `([^`]+)`", PAGE, re.MULTILINE)


async def test_a_resource_needs_a_use_case_and_a_table(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = (*routes.ROUTES, *ROUTES)
    monkeypatch.setattr(routes, "TABLES", ((routes.PREFIX, table),))
    known = [cloud.use_cases.get(kind) for kind in cloud.use_cases]
    notes = NoteAdministration(cloud.records.audit, clock=lambda: NOW)
    made = app.build(UseCases(*known, notes), hosts=HostNames(allowed=["cloud.example"]))
    transport = httpx2.ASGITransport(app=made, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="https://cloud.example") as http:
        admin = {"Authorization": f"Bearer {await cloud.token(Role.ADMINISTRATOR)}"}
        limited = await cloud.token(Role.ADMINISTRATOR, facilities=frozenset({"main-heron"}))
        clinician = {"Authorization": f"Bearer {await cloud.token(Role.CLINICIAN)}"}
        url = "/api/v1/notes"
        assert (await http.get(url)).status_code == 401
        assert (await http.get(url, headers=clinician)).status_code == 403
        refused = await http.get(url, headers={"Authorization": f"Bearer {limited}"})
        assert refused.status_code == 403
        created = await http.post(url, headers=admin, json={"text": "moved the scanner"})
        assert (created.status_code, created.json()) == (201, {"text": "moved the scanner"})
        assert (await http.post(url, headers=admin, json={"texts": ""})).status_code == 422
        assert (await http.get(url, headers=admin)).json()["items"] == [created.json()]
    found = await cloud.records.audit.records(HERON, search=AuditSearch(type="note.create"))
    assert len(found.items) == 1
    operation = describe(made)["paths"]["/api/v1/notes"]["post"]
    assert (operation["summary"], operation["description"]) == (
        "Create a note",
        "Returns the note.",
    )
    assert (operation["x-audit"], operation["x-roles"]) == (
        "note.create",
        ["administrator", "operator"],
    )


def test_the_page_is_short_and_its_files_are_there() -> None:
    assert len(PAGE.splitlines()) <= 40
    edited = files("edit")
    assert len(edited) <= MOST_EDITED
    for file in [*edited, *re.findall(r"`(tests/[^`]+)`", PAGE)]:
        assert (ROOT / file).is_file(), file
    for pattern in files("new"):
        folder = (ROOT / pattern).parent
        assert folder.is_dir() or "<" in folder.name, pattern


def test_the_edited_files_name_every_resource_and_no_other_file_does() -> None:
    """A resource is known by its module's name; who else imported it would have to be edited."""
    lists = {str(ROOT / file) for file in files("edit")}
    assert lists == {str(Path(str(module.__file__))) for module in (use_cases, routes)}
    resources = {
        path.stem
        for path in (CLOUD / "web/api").glob("*.py")
        if "ROUTES: Final" in path.read_text(encoding="utf-8")
    }
    assert len(resources) == len(routes.RESOURCES)
    for path in CLOUD.rglob("*.py"):
        if path.parent.name != "api" and str(path) not in lists:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module == "swallowtail.cloud.web.api":
                    assert not resources & {one.name for one in node.names}, path
