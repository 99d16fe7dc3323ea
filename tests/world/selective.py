"""A world whose destinations accept some instances and refuse the presentation context of others,
and may fail besides.

What a modality sends is in two transfer syntaxes and three SOP classes, in random order; each
destination accepts a choice of them. What it refuses ends as a dead letter, or stops its lane until
a person acts. The rest arrives once and in order: a third of these worlds is calm, as in
`delivering`.
"""

import random
from collections.abc import Iterator
from typing import Final

import msgspec

from swallowtail.calls.config import AtCap
from swallowtail.cloud.model.delivery import DeliverySearch, DeliveryState
from swallowtail.dicom import uids
from swallowtail.dicom.negotiation import AcceptorPolicy
from tests.world.arrivals import Key
from tests.world.cloud import EVENT, LINK, TENANT
from tests.world.datasets import draw_data_sets
from tests.world.delivering import DeliveringWorld
from tests.world.oracle import Instance
from tests.world.pacs import Pacs
from tests.world.parts import Parts
from tests.world.sending import JPEG_BASELINE, SOP_CLASSES

SYNTAXES: Final = (uids.EXPLICIT_VR_LITTLE_ENDIAN, JPEG_BASELINE)
STOPPED: Final = DeliverySearch(link=LINK, states=frozenset({DeliveryState.STOPPED}))


class SelectiveWorld(DeliveringWorld):
    """One seed's world, each of its destinations with so many connections."""

    def __init__(self, seed: int, parts: Parts | None = None, *, connections: int = 1) -> None:
        self._connections = connections
        self.selection_dice = random.Random(f"{seed}/selection")
        super().__init__(seed, parts)
        self._accepted = {pacs.name: self._select(pacs) for pacs in self.pacs}
        self.arrivals.accepts = self._accepts
        for name in [*self.arrivals.undisturbed]:
            if self.arrivals.destinations[name].at_cap is AtCap.STOP:  # it waits for a person
                self.arrivals.undisturbed.discard(name)

    def _draw_instances(self, modality: str) -> list[Instance]:
        drawn = draw_data_sets(self.random_source, self.seed, modality)
        random_source = random.Random(f"{self.seed}/{modality}/syntaxes")
        return [
            Instance(one.sop_class, one.sop_instance, random_source.choice(SYNTAXES), one.data)
            for one in drawn
        ]

    def _destination(self, number: int) -> Pacs:
        pacs, random_source = super()._destination(number), self.selection_dice
        self.arrivals.destinations[pacs.name] = msgspec.structs.replace(
            self.arrivals.destinations[pacs.name],
            connections=self._connections,
            attempts=random_source.choice((1, 2, 5)),
            outstanding=random_source.choice((1, 1, 4)),
            at_cap=random_source.choice((AtCap.PARK, AtCap.PARK, AtCap.STOP)),
        )
        return pacs

    def _select(self, pacs: Pacs) -> frozenset[tuple[str, str]]:
        """Draw what a destination accepts; Implicit VR LE is for its C-ECHO."""
        random_source = self.selection_dice
        classes = random_source.sample(SOP_CLASSES, random_source.choice((1, 2, 3, 3)))
        syntaxes = random_source.sample(SYNTAXES, random_source.choice((1, 1, 2)))
        pacs.policy = AcceptorPolicy(
            sop_classes=frozenset({uids.VERIFICATION, *classes}),
            transfer_syntaxes=frozenset({uids.IMPLICIT_VR_LITTLE_ENDIAN, *syntaxes}),
        )
        return frozenset((one, syntax) for one in classes for syntax in syntaxes)

    def _accepts(self, key: Key) -> bool:
        name, sop_instance, transfer_syntax = key
        sent = self.oracle.sent(sop_instance, transfer_syntax)
        return sent is None or (sent.sop_class, transfer_syntax) in self._accepted[name]

    @property
    def kinds(self) -> Iterator[str]:
        """Name what each instance meets at each destination, and how that is set."""
        for name, destination in self.arrivals.destinations.items():
            yield destination.at_cap.value
            yield f"outstanding {destination.outstanding}"
            for one in self._all_instances():
                accepted = (one.sop_class, one.transfer_syntax) in self._accepted[name]
                yield "accepted" if accepted else "refused"

    async def _decide(self) -> None:
        """Do what a person does about lanes that have stopped.

        Skip the instance, or try it once more.
        """
        records, retries = self.cloud._records(), self.selection_dice.random() < 0.3
        await records.deliveries.act(
            TENANT,
            STOPPED,
            (),
            DeliveryState.PENDING if retries else DeliveryState.SKIPPED,
            in_place=retries,
            reason="" if retries else "the destination does not accept it",
            now=self.cloud.wall(),
            event=EVENT,
        )
        self.cloud.bus.publish(f"deliveries/{LINK}")
