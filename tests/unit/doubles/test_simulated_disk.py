import errno

import pytest

from tests.doubles.simulated_disk import SimulatedDisk


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk()


def write(disk: SimulatedDisk, *, fsync: bool) -> None:
    mounted = disk.mount()
    file = mounted.create("a")
    file.write([memoryview(b"one"), memoryview(b"two")])
    if fsync:
        file.fsync()


def test_a_file_without_its_folders_fsync_is_gone(disk: SimulatedDisk) -> None:
    write(disk, fsync=True)
    assert disk.files() == {"a": b"onetwo"}
    disk.crash()
    assert disk.files() == {}


def test_a_name_without_its_files_fsync_is_empty(disk: SimulatedDisk) -> None:
    write(disk, fsync=False)
    disk.mount().fsync_folder("")
    disk.crash()
    assert disk.files() == {"a": b""}


def test_both_fsyncs_make_it_durable(disk: SimulatedDisk) -> None:
    write(disk, fsync=True)
    disk.mount().fsync_folder("")
    assert disk.durable_files() == {"a": b"onetwo"}
    disk.crash()
    assert disk.files() == {"a": b"onetwo"}


def test_a_killed_process_leaves_what_it_wrote_and_touches_nothing_more(
    disk: SimulatedDisk,
) -> None:
    mounted = disk.mount()
    write(disk, fsync=False)
    disk.kill()
    assert (disk.files(), disk.durable_files()) == ({"a": b"onetwo"}, {})
    with pytest.raises(OSError, match="crashed"):
        mounted.unlink("a")


def test_a_rename_that_was_not_synced_is_undone(disk: SimulatedDisk) -> None:
    write(disk, fsync=True)
    mounted = disk.mount()
    mounted.make_folder("f")
    mounted.fsync_folder("")
    mounted.rename("a", "f/a")
    disk.crash()
    assert disk.files() == {"a": b"onetwo"}


def test_what_stands_in_a_folder_whose_name_is_not_durable_is_gone(disk: SimulatedDisk) -> None:
    mounted = disk.mount()
    mounted.make_folder("f")
    file = mounted.create("f/a")
    file.fsync()
    mounted.fsync_folder("f")
    disk.crash()
    assert disk.files() == {}


def test_a_mount_of_before_the_crash_is_dead(disk: SimulatedDisk) -> None:
    mounted = disk.mount()
    file = mounted.create("a")
    disk.crash()
    for act in (
        lambda: file.write([memoryview(b"x")]),
        file.fsync,
        lambda: mounted.list(""),
        lambda: mounted.unlink("a"),
    ):
        with pytest.raises(OSError, match="crashed"):
            act()


def test_a_full_and_a_failing_disk(disk: SimulatedDisk) -> None:
    mounted = disk.mount()
    file = mounted.create("a")
    disk.full = disk.failing = True
    with pytest.raises(OSError, match="space") as full:
        file.write([memoryview(b"x")])
    with pytest.raises(OSError, match="input") as failing:
        mounted.fsync_folder("")
    assert (full.value.errno, failing.value.errno) == (errno.ENOSPC, errno.EIO)
