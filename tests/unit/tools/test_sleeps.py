"""The check for tests that wait for real time."""

from pathlib import Path

import pytest

from tools.sleeps import complaints


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import time\ntime.sleep(1)\n", [2]),
        ("import asyncio\nasync def test():\n    await asyncio.sleep(0.01)\n", [3]),
        (
            (
                "import asyncio\nasync def test():\n    for _ in range(3):\n        await"
                " asyncio.sleep(0.01)\n"
            ),
            [4],
        ),
        ("import asyncio\nasync def test():\n    await asyncio.sleep(0)\n", []),
        (
            (
                "import asyncio\nasync def test(holds):\n    while not holds():\n        await"
                " asyncio.sleep(0.01)\n"
            ),
            [],
        ),
        ("import time\nwhile True:\n    def wait():\n        time.sleep(1)\n", [4]),
        (
            (
                "import asyncio\nfrom tests.world.loop import run\nasync def test():\n    await"
                " asyncio.sleep(60)\n"
            ),
            [],
        ),
        (
            (
                "import asyncio\nfrom tests.worldly import run\nasync def test():\n    await"
                " asyncio.sleep(60)\n"
            ),
            [4],
        ),
        ('PROGRAM = "import time; time.sleep(60)"\n', []),
    ],
)
def test_a_sleep_is_found_unless_it_is_virtual_or_waits_for_a_condition(
    tmp_path: Path, source: str, lines: list[int]
) -> None:
    (tmp_path / "tests").mkdir()
    file = tmp_path / "tests" / "test_it.py"
    file.write_text(source)
    assert [*complaints(tmp_path / "tests")] == [
        f"{file}:{line}: sleeps; wait for an event, or use tests.turns" for line in lines
    ]
