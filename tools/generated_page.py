"""A generated file: its generator writes it, or compares it with `--check`."""

from collections.abc import Callable, Sequence
from pathlib import Path


def run(path: Path, page: Callable[[], str], module: str, arguments: Sequence[str]) -> int:
    """Write the page that `module` generates; with `--check` return 1 when it is not current."""
    if list(arguments) == ["--check"]:
        if not path.exists() or path.read_text(encoding="utf-8") != page():
            print(f"{path.name} is not current; run: python -m tools.{module}")
            return 1
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(), encoding="utf-8")
    return 0
