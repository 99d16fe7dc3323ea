import io

from swallowtail.sim.progress import Lines, Table, progress
from swallowtail.sim.story import Result

TITLES = ["first", "second"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_plain_lines() -> None:
    out = io.StringIO()
    with progress(TITLES, out) as audience:
        assert isinstance(audience, Lines)
        audience.begin("first")
        audience.end(Result("first", True, "seen", 1.25))
        audience.begin("second")
        audience.end(Result("second", False, "broken; look there", 0.5))
    assert [line.split() for line in out.getvalue().splitlines()] == [
        ["1/2", "ok", "first", "1.2", "s", "seen"],
        ["2/2", "FAIL", "second", "0.5", "s", "broken;", "look", "there"],
    ]


def test_a_terminal_gets_a_table_that_redraws_itself_and_the_whole_failure() -> None:
    out = Terminal()
    with progress(TITLES, out) as audience:
        assert isinstance(audience, Table)
        audience.begin("first")
        audience.end(Result("first", False, "broken\nits last lines", 1.0))
    assert out.getvalue().count("\x1b[2F") >= 1
    assert out.getvalue().endswith("\nfirst: broken\nits last lines\n")
