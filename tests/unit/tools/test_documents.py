"""The documents point at what is there.

Every relative link has its file, every test that is named exists.
"""

import re
from pathlib import Path

import pytest

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
