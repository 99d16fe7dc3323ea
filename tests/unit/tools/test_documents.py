"""The documents refer to existing files and tests, and the glossary is enforced."""

import re
import tomllib
from pathlib import Path

import pytest

from swallowtail import __version__
from tools.language import Vocabulary

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("changes/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
NAMED = re.compile(r"`(test_\w+)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    links = [
        link for link in LINK.findall(document.read_text(encoding="utf-8")) if "://" not in link
    ]
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_test_that_is_named_exists() -> None:
    defined = set()
    for path in ROOT.glob("tests/**/test_*.py"):
        defined |= {
            path.stem,
            *re.findall(
                r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE
            ),
        }
    named = {
        name
        for document in DOCUMENTS
        for name in NAMED.findall(document.read_text(encoding="utf-8"))
    }
    assert "test_a_release_collision_ends_well" in named
    assert named - defined == set()


def test_every_runbook_is_in_their_list() -> None:
    listed = (ROOT / "docs/runbooks/README.md").read_text(encoding="utf-8")
    pages = {path.name for path in ROOT.glob("docs/runbooks/*.md")} - {"README.md"}
    assert {page for page in pages if f"({page})" not in listed} == set()


def test_words_that_the_glossary_excludes_are_in_the_list_of_words() -> None:
    vocabulary = Vocabulary.load(ROOT / "tools/language.toml")
    covered = {word for entry in vocabulary.words for word in entry.covers}
    rows = re.findall(
        r"^\|.*\|.*\|([^|]+)\|$",
        (ROOT / "docs/glossary.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    excluded = {word for cell in rows for word in re.findall(r"`([^`]+)`", cell)}
    assert len(excluded) > 20
    assert excluded - covered == set()


def test_the_version_is_one_and_has_a_line_in_the_releases() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__
    assert f"| {__version__} |" in (ROOT / "docs/releases.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "page",
    [
        "add-a-listener-protocol",
        "add-a-rest-resource",
        "add-a-store",
        "add-an-alarm",
        "add-a-dimse-service",
    ],
)
def test_a_how_to_page_exists(page: str) -> None:
    assert ROOT.joinpath(f"docs/howto/{page}.md").is_file()


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/howto/*.md")), ids=lambda path: path.name)
def test_a_how_to_page_has_at_most_40_lines(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) <= 40
