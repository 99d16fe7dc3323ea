"""The file docs/openapi.json, from the application.

The contract of /api/v1, which changes only by addition.

python -m tools.generate_openapi              writes the file
python -m tools.generate_openapi --check      fails when it is not current
python -m tools.generate_openapi --baseline   takes the API as it is for the baseline, which is
                                              docs/openapi-v1.json: later changes only add to it
"""

import json
import sys
from pathlib import Path

from swallowtail.cloud.web.app import build
from swallowtail.cloud.web.openapi_document import describe
from tools import generated_page

DOCUMENT = Path(__file__).parent.parent / "docs" / "openapi.json"
BASELINE = DOCUMENT.with_name("openapi-v1.json")


def page() -> str:
    """Return the document."""
    return json.dumps(describe(build(None)), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main(arguments: list[str]) -> int:
    """Write the document, compare it, or take it for the baseline."""
    if arguments == ["--baseline"]:
        BASELINE.write_text(page(), encoding="utf-8")
        return 0
    return generated_page.run(DOCUMENT, page, "generate_openapi", arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
