"""How much the tests do: `make soak` sets SWALLOWTAIL_SOAK=1."""

import os

SOAK = os.environ.get("SWALLOWTAIL_SOAK") == "1"


def amount(usual: int, soak: int) -> int:
    """How many seeds, kills or rounds: `usual` in `make test`, `soak` in `make soak`."""
    return soak if SOAK else usual
