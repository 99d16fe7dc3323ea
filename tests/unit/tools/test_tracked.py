"""What no tracked file may name.

The forbidden words are put together here, for this file is tracked too.
"""

import pytest

from tools.tracked import complaints, tracked

HOST = "https://" + "py" + "pi.org/simple"
ROOT = "/" + "ro" + "ot/data"


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("docs/a.md", f"see\n{HOST}\n", "docs/a.md:2"),
        ("docs/a.md", f"see {ROOT}", "docs/a.md:1"),
        ("src/a.py", "path = '/" + "home/ada/x'", "src/a.py:1"),
        ("requirements/dev.lock", "--find-" + "links wheels", "lock"),
        ("requirements/dev.lock", "a @ file" + "://x", "lock"),
        ("ARCHITECTURE.md", "\n" * 151, "151 lines, at most 150"),
    ],
)
def test_what_is_refused(name: str, text: str, where: str) -> None:
    (complaint,) = complaints(name, text)
    assert where in complaint


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("docs/a.md", "https://localhost:8443/api/v1 and https://example.org/work/items"),
        ("docs/a.md", "the network, its framework/works and a route /works"),
        ("requirements/dev.lock", "click==8.5.1 \\\n    --hash=sha256:00"),
        ("ARCHITECTURE.md", "\n" * 150),
    ],
)
def test_what_is_let_through(name: str, text: str) -> None:
    assert list(complaints(name, text)) == []


def test_the_tracked_files_are_read() -> None:
    assert "requirements/dev.lock" in dict(tracked())
