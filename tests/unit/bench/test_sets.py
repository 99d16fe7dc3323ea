from pathlib import Path

from pydicom import dcmread

from bench.sets import Set, Shape

SHAPES = (
    Shape("slices", count=3, rows=5, columns=5),
    Shape("cines", count=2, rows=4, columns=6, frames=2),
)


def test_renewal_changes_the_uids_and_nothing_else(tmp_path: Path) -> None:
    for shape in SHAPES:
        made = Set(shape, tmp_path)
        before = [dcmread(path) for path in made.files]
        made.renew()
        after = [dcmread(path) for path in made.files]
        assert len({ds.SOPInstanceUID for ds in before + after}) == 2 * shape.count
        assert {ds.StudyInstanceUID for ds in after} == {made.study}
        for old, new in zip(before, after, strict=True):
            assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID
            for ds in (old, new):
                del ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID
            assert old == new


def test_a_set_is_made_once(tmp_path: Path) -> None:
    first = Set(SHAPES[0], tmp_path)
    times = [path.stat().st_mtime_ns for path in first.files]
    assert [path.stat().st_mtime_ns for path in Set(SHAPES[0], tmp_path).files] == times


def test_dealing_leaves_nobody_without_a_file(tmp_path: Path) -> None:
    made = Set(SHAPES[0], tmp_path)
    assert [len(part) for part in made.parts(8)] == [1, 1, 1]
    assert sorted(path for part in made.parts(2) for path in part) == made.files
