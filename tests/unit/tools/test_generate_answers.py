"""The conformance page says what the code does."""

from swallowtail.calls.answers import ANSWERS
from tools.generate_answers import PAGE, main, page, words


def test_the_page_is_current():
    assert PAGE.read_text() == page(), "run: python -m tools.generate_answers"
    assert main(["--check"]) == 0


def test_every_answer_stands_in_it_in_words():
    for answer in ANSWERS.values():
        assert f"| {words(answer)} |" in page()
