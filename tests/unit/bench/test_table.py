import json
from pathlib import Path

import pytest

from bench.table import (
    BARS,
    KNOWN_MISSES,
    NOBODY,
    Bar,
    Row,
    alone,
    new_misses,
    render,
    render_bars,
    versus,
    write,
)


@pytest.mark.parametrize(
    ("row", "bar", "said"),
    [
        (versus("a", 2.0, 16.0, "p"), Bar("a", "p", least=8), "pass  8.00 (must be ≥ 8)"),
        (
            versus("a", 2.0, 15.0, "p"),
            Bar("a", "p", least=8, aim=9),
            "MISS  7.50 (must be ≥ 8, aim 9)",
        ),
        (
            alone("a", 48.0, "MB"),
            Bar("a", NOBODY, most=48, aim=40),
            "pass  48.00 (must be ≤ 48, aim 40)",
        ),
        (alone("a", 48.5, "MB"), Bar("a", NOBODY, most=48), "MISS  48.50 (must be ≤ 48)"),
        (versus("a", None, 15.0, "p"), Bar("a", "p", least=8), "not measured"),
        (versus("a", 2.0, 16.0, "q"), Bar("a", "p", least=8), "not measured"),
    ],
)
def test_bar(row: Row, bar: Bar, said: str) -> None:
    assert bar.judge([row]) == said


def test_ratio_above_one_means_that_ours_is_better() -> None:
    assert versus("a", 2.0, 3.0, "p").ratio == 1.5
    assert alone("a", 2.0, "s").ratio is None


def test_json_has_the_promised_keys(tmp_path: Path) -> None:
    write([versus("a", 2.0, 3.0, "p")], tmp_path / "rows.json")
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert {key: row[key] for key in ("name", "ours", "peer", "peer_name", "unit", "ratio")} == {
        "name": "a",
        "ours": 2.0,
        "peer": 3.0,
        "peer_name": "p",
        "unit": "s",
        "ratio": 1.5,
    }


def test_a_figure_that_is_missing_shows_as_such() -> None:
    assert render([versus("a", None, 3.0, "p")]).splitlines()[1].split() == [
        "a",
        "-",
        "3.00",
        "-",
        "p,",
        "s",
    ]


KNOWN, OTHER = (
    versus("store-in ct one default", 2.0, 15.0, "storescp"),
    versus("store-in cine one default", 2.0, 0.5, "storescp"),
)


def test_a_missed_bar_fails_the_run_unless_it_is_known() -> None:
    assert new_misses([KNOWN]) == []
    assert [bar.row for bar in new_misses([KNOWN, OTHER])] == ["store-in cine one default"]
    assert new_misses([versus("store-in cine one default", 2.0, 1.0, "storescp")]) == []
    assert "known: ADR 0010" in render_bars([KNOWN])


def test_every_known_miss_is_a_bar_and_its_record_exists() -> None:
    assert set(KNOWN_MISSES) <= set(BARS)
    for record in KNOWN_MISSES.values():
        assert list(Path("docs/adr").glob(f"{record.removeprefix('ADR ')}-*.md"))
