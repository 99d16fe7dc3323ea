"""What the modalities of a world send, and in which rhythm.

New instances, again the same, other bytes, another syntax, echoes.
"""

import asyncio
import random
from typing import TYPE_CHECKING, Final

from swallowtail.dicom import uids
from tests.world.modality import Modality
from tests.world.oracle import Instance

if TYPE_CHECKING:
    from tests.world.world import World

ROOT: Final = "1.2.826.0.1.3680043.10.999"
SOP_CLASSES: Final = (
    "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.88.33",
)
JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"
SIZES: Final = (2, 200, 3_000, 20_000, 65_528, 120_000)
LARGE: Final = (400_000, 1_500_000)


def draw_instances(random_source: random.Random, seed: int, modality: str) -> list[Instance]:
    """Draw what a modality has to send."""
    drawn: list[Instance] = []
    for number in range(random_source.randint(2, 8)):
        size = random_source.choice(LARGE if random_source.random() < 0.1 else SIZES)
        uid = f"{ROOT}.{seed}.{ord(modality[-1])}.{number}"
        drawn.append(
            Instance(
                random_source.choice(SOP_CLASSES),
                uid,
                uids.EXPLICIT_VR_LITTLE_ENDIAN,
                random_source.randbytes(size // 2 * 2),
            )
        )
        if (
            random_source.random() < 0.1
        ):  # the same UID with other bytes, or in another transfer syntax
            first, syntax = (
                drawn[-1],
                random_source.choice((uids.EXPLICIT_VR_LITTLE_ENDIAN, JPEG_BASELINE)),
            )
            drawn.append(Instance(first.sop_class, uid, syntax, random_source.randbytes(300)))
    return drawn


async def live(world: "World", modality: Modality, horizon: float) -> None:
    """Send until everything is acknowledged or the time is over."""
    random_source = random.Random(f"{world.seed}/{modality.name}")
    pending = list(world.instances[modality.name])
    while pending and world.loop.time() < horizon:
        associations = (
            len(pending) / modality.habits.per_association + 1
        )  # spread over the time that there is
        await asyncio.sleep(
            random_source.uniform(0, 1.5) * max(0.0, horizon - world.loop.time()) / associations
        )
        if random_source.random() < 0.2:
            await modality.echo()
        batch = pending[: modality.habits.per_association]
        failed = await modality.store(batch)
        pending = failed + pending[len(batch) :]
        if failed:
            await asyncio.sleep(random_source.uniform(0.5, 8))
        elif random_source.random() < 0.2:
            pending.append(
                random_source.choice(batch)
            )  # a modality that sends again what it has sent
