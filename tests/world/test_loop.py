"""The world's own loop.

Virtual time, simulated threads, processes that die between two steps, and the same run every time.
"""

import asyncio
import os
import subprocess
import sys
import threading
import time

import pytest

from tests.world.loop import DeadlockError, Killed, Process, RealTimeError, WorldLoop


def run(main, seed=0):
    loop = WorldLoop(seed)
    try:
        return loop.run(main(loop)), loop
    finally:
        loop.close()


def test_hours_pass_in_no_time():
    async def main(loop):
        await asyncio.sleep(36_000)
        return loop.time()

    began = time.monotonic()
    assert run(main)[0] == pytest.approx(36_000, abs=0.001)
    assert time.monotonic() - began < 1


def test_a_cancelled_timer_does_not_move_the_clock():
    async def main(loop):
        async with asyncio.timeout(3600):
            await asyncio.sleep(1)
        loop.call_later(7200, print).cancel()
        await asyncio.sleep(1)
        return loop.time()

    assert run(main)[0] == pytest.approx(2, abs=0.001)


def test_timers_go_off_in_order_and_equal_ones_as_they_were_set():
    async def main(loop):
        order = []
        for name, delay in (("c", 2), ("a", 1), ("b", 1)):
            loop.call_later(delay, order.append, name)
        await asyncio.sleep(3)
        return order

    assert run(main)[0] == ["a", "b", "c"]


def test_a_deadline_ends_a_wait():
    async def main(loop):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.create_future(), 5)
        return loop.time()

    assert run(main)[0] == pytest.approx(5, abs=0.001)


def test_when_nothing_can_happen_any_more_it_says_who_waits():
    async def main(loop):
        await loop.create_future()

    with pytest.raises(DeadlockError, match="world"):
        run(main)


def test_a_loop_without_end_is_found():
    async def main(loop):
        while True:  # noqa: ASYNC110 - the very mistake
            await asyncio.sleep(0)

    loop = WorldLoop()
    with pytest.raises(DeadlockError, match="no end after 1000 steps"):
        loop.run(main(loop), max_steps=1000)


@pytest.mark.parametrize(
    "wait", [lambda: time.sleep(0.001), lambda: threading.Thread(target=print).start()]
)
def test_waiting_in_real_time_is_an_error(wait):
    async def main(loop):
        wait()

    with pytest.raises(RealTimeError):
        run(main)


def test_a_thread_is_work_that_happens_later():
    async def main(loop):
        done = []
        work = asyncio.to_thread(lambda: done.append("worked") or 7)
        task = loop.create_task(work)
        await asyncio.sleep(0)
        assert done == []
        assert await task == 7
        with pytest.raises(OSError, match="full"):
            await loop.run_in_executor(None, _raise, OSError("full"))
        return done, loop.time() > 0

    assert run(main)[0] == (["worked"], True)


def _raise(error):
    raise error


def test_a_killed_process_does_nothing_more_and_its_cleanup_has_no_place_to_run():
    async def main(loop):
        responses = []

        async def program():
            loop.call_later(2, responses.append, "timer")
            try:
                while True:
                    await asyncio.sleep(1)
                    responses.append("tick")
            finally:
                loop.call_soon(responses.append, "cleanup")
                await asyncio.sleep(0)

        process = Process(loop, "victim")
        process.on_death.append(lambda: responses.append("sockets closed"))
        process.spawn(program())
        await asyncio.sleep(1.5)
        process.kill()
        process.kill()
        await asyncio.sleep(10)
        return responses, loop.problems

    assert run(main)[0] == (["tick", "sockets closed"], [])


def test_a_crash_falls_between_any_two_steps():
    def crash_after(count):
        async def main(loop):
            responses = []

            async def program():
                for number in range(10):
                    responses.append(number)
                    await asyncio.sleep(0)

            process = Process(loop, "victim")
            process.after_steps(count, process.kill)
            process.spawn(program())
            await asyncio.sleep(1)
            return responses

        return run(main)[0]

    assert [len(crash_after(count)) for count in range(1, 6)] == [1, 2, 3, 4, 5]


def test_a_process_may_die_in_the_middle_of_a_thread_s_work():
    async def main(loop):
        disk = []
        process = Process(loop, "victim")

        def commit():
            disk.append("written")
            process.kill()
            raise Killed

        async def program():
            await asyncio.to_thread(commit)
            disk.append("acknowledged")

        process.spawn(program())
        await asyncio.sleep(1)
        return disk, loop.problems

    assert run(main)[0] == (["written"], [])


def test_an_exception_that_nobody_saw_is_a_problem():
    async def main(loop):
        loop.call_soon(_raise, ValueError("oh"))
        await asyncio.sleep(0)
        return loop.problems

    assert "ValueError('oh')" in run(main)[0][0]


STORY = """
import asyncio, random
from tests.world.loop import WorldLoop
loop = WorldLoop(7)
async def work(name):
    for _ in range(20):
        await asyncio.to_thread(len, name)
        loop.trace(name)
async def main():
    tasks = {loop.create_task(work(name)) for name in ("a", "b", "c", "d", "e")}
    while tasks:
        done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            loop.trace(str(task.get_name()))
        for task in list(tasks)[1:2]:
            task.cancel()
loop.run(main())
print(loop.trace_hash(), len(loop.recent))
"""


def test_a_run_is_the_same_under_any_hash_seed():
    def story(hash_seed):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": "src:."}
        return subprocess.run(
            [sys.executable, "-c", STORY],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert len({story(hash_seed) for hash_seed in ("0", "1", "random")}) == 1
