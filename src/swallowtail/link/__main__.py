"""The process that `swallowtail link run` becomes; its settings are in the environment."""

import sys

sys.modules.setdefault("rich", None)  # type: ignore[arg-type] # structlog would load it when it is installed: 4 MB for nothing

from swallowtail.link.program import main  # noqa: E402

sys.exit(main())
