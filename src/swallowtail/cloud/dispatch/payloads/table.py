"""The table of payload kinds."""

from typing import Final

from swallowtail.cloud.dispatch.payloads.instance_kind import INSTANCE_KIND
from swallowtail.cloud.dispatch.payloads.kind import Kinds

KINDS: Final[Kinds] = {kind.name: kind for kind in (INSTANCE_KIND,)}
