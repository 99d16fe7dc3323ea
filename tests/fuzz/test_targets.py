"""Every fuzz target holds for its seeds and for a few thousand mutations of them, the same ones
each time; `make fuzz` goes on.
"""

import importlib
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.make_seeds import SEEDS, seeds
from tests.modes import amount

NAMES = sorted(path.stem.removeprefix("fuzz_") for path in Path(__file__).parent.glob("fuzz_*.py"))
MUTATIONS = amount(400, 40_000)
# longer seeds are for their length, and mutations of them would cost time and find nothing
WHOLE = 4096
MAX_MEMORY = (
    24 << 20
)  # bytes that one input may cost: two 4 MiB windows, and what Python makes of them
INTERESTING = (
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\1",
    b"\x7f\xff",
    b"\n",
    b"\xc1",
    b"9" * 40,
)


def target(name: str) -> Callable[[bytes], None]:
    """Give the target's function."""
    check: Callable[[bytes], None] = importlib.import_module(f"tests.fuzz.fuzz_{name}").check
    return check


def corpus(name: str) -> list[bytes]:
    """Give the seeds as they are on disk, in the order of their names."""
    return [path.read_bytes() for path in sorted((SEEDS / name).iterdir())]


def mutated(known: list[bytes], rng: random.Random) -> bytes:
    """Change a seed in a few places.

    A byte, an insertion, a deletion, a repetition, or the rest of another seed.
    """
    raw = bytearray(rng.choice(known))
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(raw))
        match rng.randint(0, 4):
            case 0 if raw:
                raw[at % len(raw)] = rng.randint(0, 255)
            case 1:
                raw[at:at] = rng.choice(INTERESTING)
            case 2:
                del raw[at : at + rng.randint(1, 8)]
            case 3:
                raw[at:at] = raw[at : at + rng.randint(1, 64)]
            case _:
                other = rng.choice(known)
                raw[at:] = other[rng.randint(0, len(other)) :]
    return bytes(raw)


def test_every_target_has_the_seeds_of_the_script() -> None:
    made = (
        seeds()
    )  # their bytes may differ: the format grows, and each zlib deflates in its own way
    assert sorted(made) == NAMES
    for name, named in made.items():
        assert set(named) <= {path.name for path in (SEEDS / name).iterdir()}, (
            "run python -m tests.fuzz.make_seeds"
        )


@pytest.mark.parametrize("name", NAMES)
def test_the_seeds_hold_within_their_memory(name: str) -> None:
    check = target(name)
    for raw in corpus(name):
        tracemalloc.start()
        try:
            check(raw)
            assert tracemalloc.get_traced_memory()[1] < MAX_MEMORY
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("name", NAMES)
def test_mutations_of_the_seeds_hold(name: str) -> None:
    check = target(name)
    rng = random.Random(name)
    known = [raw for raw in corpus(name) if len(raw) <= WHOLE]
    for number in range(MUTATIONS):
        raw = mutated(known, rng)
        try:
            check(raw)
        except Exception as error:
            error.add_note(f"{name}, mutation {number}: {raw[:2000].hex()}")
            raise


@pytest.mark.parametrize("name", NAMES)
def test_nothing_and_noise_hold(name: str) -> None:
    check = target(name)
    rng = random.Random(name)
    check(b"")
    for _ in range(200):
        check(rng.randbytes(rng.randint(1, 200)))


def test_the_policy_target_fails_when_every_address_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = importlib.import_module("tests.fuzz.fuzz_policy")
    file = b'[outbound]\nallow = [{network = "0.0.0.0/0"}]'
    module.check(file)
    monkeypatch.setattr(module, "judge_target", lambda *_: None)
    with pytest.raises(AssertionError):
        module.check(file)
