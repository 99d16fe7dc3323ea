"""Archives: folders of an organisation's studies.

A study is in one archive at most, as a file is in one folder: whoever moves it takes it out of the
other. What is filed is what a facility holds of a study (ADR 0014), with everything of it that
comes later.
"""

from typing import Final

from swallowtail.cloud.model.tenancy import Value

MAX_ARCHIVES: Final = 1000
"""Of an organisation."""


class Archive(Value, frozen=True, kw_only=True):
    """A folder of studies; `name` is unique in the organisation."""

    id: str
    name: str
    created: float


class AccessLimits(Value, frozen=True, kw_only=True):
    """The facilities and archives of which a caller sees studies; None: all."""

    facilities: frozenset[str] | None = None
    archives: frozenset[str] | None = None
