"""The conformance page says what the code does."""

from swallowtail.calls.dimse_services.table import RESPONSE_TABLE
from tools.generate_answers import PAGE, main, page, words


def test_the_page_is_current():
    assert PAGE.read_text() == page(), "run: python -m tools.generate_answers"
    assert main(["--check"]) == 0


def test_every_answer_stands_in_it_in_words():
    for answers in RESPONSE_TABLE.values():
        for answer in answers.values():
            assert f"| {words(answer)} |" in page()
