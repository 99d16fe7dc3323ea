"""The seams of the world: which component stands where.

A planted fault is a faulty component put in through one of them.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

from swallowtail.cloud.blobs.disk import Disk
from swallowtail.cloud.model.ports.blobs import Blobs
from swallowtail.cloud.model.ports.deliveries import Deliveries
from swallowtail.cloud.model.ports.instances import Instances
from swallowtail.runtime.network import Network
from tests.world.network import Host


def _as_it_is(part: Any) -> Any:
    return part


@dataclass(frozen=True)
class Parts:
    """What is put in place of, or around, the real components."""

    network: Callable[[Host], Network] = _as_it_is
    """Link's."""
    disk: Callable[[Disk], Disk] = _as_it_is
    blobs: Callable[[Blobs], Blobs] = _as_it_is
    instances: Callable[[Instances], Instances] = _as_it_is
    deliveries: Callable[[Deliveries], Deliveries] = _as_it_is
    """The dispatch's."""
    patches: tuple[tuple[str, object], ...] = ()
    """Names of classes in modules, and the subclasses that take their place for one run."""

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        """Let the patches hold."""
        with contextlib.ExitStack() as stack:
            for target, replacement in self.patches:
                stack.enter_context(mock.patch(target, replacement))
            yield
