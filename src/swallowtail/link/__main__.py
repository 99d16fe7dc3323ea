"""The process that `swallowtail link run` becomes; its settings are in the environment."""

import sys

for name in (
    "rich",
    "typing_extensions",
):  # libraries load them when they happen to be installed: 8 MB for nothing
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]

from swallowtail.link.program import main  # noqa: E402

sys.exit(main())
