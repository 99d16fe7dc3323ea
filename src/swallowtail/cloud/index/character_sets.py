"""The text codecs of data sets, loaded before they are needed.

A worker process cannot open files by name later.
"""

import codecs

from pydicom.charset import python_encoding


def load() -> None:
    """Load every codec that a Specific Character Set can name (PS3.3 C.12.1.1.2)."""
    for name in {*python_encoding.values(), "ascii", "latin-1", "utf-8"}:
        codecs.lookup(name)
