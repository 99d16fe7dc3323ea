"""`python -m bench.web_server DATA FILES`.

The Cloud, with a folder of static files beside it at /bench.
"""

import json
import sys
from pathlib import Path
from typing import Any

from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from swallowtail.cloud import server
from swallowtail.cloud.composition.settings import ServeSettings
from swallowtail.runtime.log import configure


def main() -> None:
    configure()
    data, files = (Path(argument) for argument in sys.argv[1:])
    build = server.build

    def with_files(services: Any, beside: list[BaseRoute], **rest: Any) -> Any:
        return build(services, [*beside, Mount("/bench", StaticFiles(directory=files))], **rest)

    server.build = with_files  # type: ignore[assignment]
    settings = ServeSettings.of(data=data, listen="127.0.0.1:0", cert=None, key=None)
    server.run(settings, announce=lambda facts: print(json.dumps(facts), flush=True))


if __name__ == "__main__":
    main()
