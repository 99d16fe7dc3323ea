"""Runs one fuzz target under atheris.

`python -m tests.fuzz.run NAME [libFuzzer's options and folders]` (see tools/fuzz).

A target is a module `fuzz_NAME` with one function `check(data)`, which returns for every input;
whatever it raises is a finding. `test_targets` runs the same functions without atheris, so that
they cannot rot.
"""

import importlib
import sys

import atheris


def main() -> None:
    """Import the target with coverage counters in our own modules, then fuzz it."""
    name, options = sys.argv[1], sys.argv[2:]
    with atheris.instrument_imports(include=["swallowtail"]):
        target = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    atheris.Setup([f"fuzz_{name}", *options], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
