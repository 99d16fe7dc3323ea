"""Writes docs/openapi.json from the application.

The contract of /api/v1, which changes only by addition.

python -m tools.generate_openapi           writes it
python -m tools.generate_openapi --check   fails when it is not current
"""

import json
import sys
from pathlib import Path

from swallowtail.cloud.web.app import build
from swallowtail.cloud.web.openapi_document import describe

DOCUMENT = Path(__file__).parent.parent / "docs" / "openapi.json"


def page() -> str:
    """Give the whole document."""
    return json.dumps(describe(build(None)), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main(arguments: list[str]) -> int:
    """Write the document, or compare it."""
    if arguments == ["--check"]:
        if DOCUMENT.read_text(encoding="utf-8") != page():
            print(f"{DOCUMENT.name} is not current; run: python -m tools.generate_openapi")
            return 1
        return 0
    DOCUMENT.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
