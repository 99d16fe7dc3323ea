"""The conformance page shows the response table of every listener protocol."""

from swallowtail.link.protocols import PROTOCOLS
from tools.generate_responses import PAGE, main, page


def test_the_page_is_current():
    assert PAGE.read_text() == page(), "run: python -m tools.generate_responses"
    assert main(["--check"]) == 0


def test_every_response_is_on_the_page():
    for row in PROTOCOLS.values():
        for column in row.responses.values():
            for response in column.values():
                assert f"| {response.text} |" in page()
