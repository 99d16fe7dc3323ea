"""The check of what no tracked file may contain, and of the lengths of documents.

A package registry's address, or a path of one machine.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REGISTRY = re.compile(
    r"\b[a-z]+://[^\s\"'<>)]*\b(?:pypi|pythonhosted|npmjs|yarnpkg|debian|ubuntu|crates|rubygems"
    r"|anaconda|docker)\.(?:org|com|io)\b",
    re.IGNORECASE,
)
MACHINE_PATH = re.compile(
    r"(?<![\w.$}/-])/(?:work|root|opt/(?:pypi|wheels))(?:/|\b(?![\w-]))"
    r"|(?<![\w.$}/-])/(?:home|Users)/\w+/"
)
ANY_ADDRESS = re.compile(
    r"\b[a-z]+://|^--(?:index|extra-index|find-links)", re.IGNORECASE | re.MULTILINE
)
LOCKS = (".lock", "package-lock.json")
LENGTHS = {
    "ARCHITECTURE.md": 150,
    "docs/wire.md": 200,
}  # lines at most; a document that is not there yet is not measured
EXEMPT = {"LICENSE"}


def complaints(name: str, text: str) -> Iterator[str]:
    """Return the findings in one file as `file:line: what, and what to do`."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := REGISTRY.search(line):
            yield f"{name}:{number}: names a package registry ({found[0]}); leave the address out"
        if found := MACHINE_PATH.search(line):
            yield (
                f"{name}:{number}: names a path of one machine ({found[0]}); make it relative or an"
                " argument"
            )
        if name.endswith(LOCKS[0]) and (found := ANY_ADDRESS.search(line)):
            yield f"{name}:{number}: a lock holds no addresses ({found[0]}); run `make lock`"
    limit = LENGTHS.get(name)
    if limit is not None and (lines := len(text.splitlines())) > limit:
        yield f"{name}: {lines} lines, at most {limit}"


def tracked() -> Iterator[tuple[str, str]]:
    """Return every text file that git tracks or would track, by name, with its text."""
    asked = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split(
        "\0"
    ):
        path = Path(name)
        if not name or name in EXEMPT or not path.is_file() or path.is_symlink():
            continue
        content = path.read_bytes()
        if b"\0" not in content[:8192]:
            yield name, content.decode("utf-8", errors="replace")


def main() -> int:
    """Print every finding; return 1 when there is one."""
    found = [complaint for name, text in tracked() for complaint in complaints(name, text)]
    for complaint in found:
        print(f"tracked: {complaint}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
