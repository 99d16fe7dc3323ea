"""AE titles and UIDs.

One rule, whoever asks (machine, configuration, REST), and it is the standard's.
"""

import msgspec
import pydantic
from hypothesis import given
from hypothesis import strategies as st

from swallowtail.calls.document import AeTitle, Uid
from swallowtail.cloud.web.api.schemas import UidText
from swallowtail.dicom import ae_titles, uids

rest_uid: pydantic.TypeAdapter[str] = pydantic.TypeAdapter(UidText)
titles = st.one_of(
    st.text(max_size=18),
    st.text(alphabet=st.characters(max_codepoint=255), max_size=18),
    st.text(alphabet=" A\\\n\0~", max_size=18),
)
texts = st.one_of(
    st.text(max_size=70),
    st.text(alphabet="0123.", max_size=70),
    st.lists(st.integers(0, 10**20).map(str), max_size=8).map(".".join),
    st.text(alphabet="012.\n x", max_size=8),
)


def is_legal_title(title: str) -> bool:
    """PS3.5 6.2, VR AE."""
    plain = all(0x20 <= ord(letter) <= 0x7E and letter != "\\" for letter in title)
    return plain and len(title) <= 16 and title.strip(" ") != ""


def is_usable_uid(uid: str) -> bool:
    """PS3.5 9.1, but for leading zeros."""
    components = uid.split(".")
    digits = set("0123456789")
    return len(uid) <= 64 and all(one and set(one) <= digits for one in components)


def accepted(kind: object, value: str) -> bool:
    try:
        msgspec.json.decode(msgspec.json.encode(value), type=kind)
    except msgspec.ValidationError:
        return False
    return True


@given(titles)
def test_an_ae_title_is_judged_alike_by_the_machine_and_the_configuration(title):
    assert ae_titles.is_valid(title) == is_legal_title(title)
    assert accepted(AeTitle, title) == is_legal_title(title)


@given(texts)
def test_a_uid_is_judged_alike_by_the_machine_the_configuration_and_rest(uid):
    assert uids.is_valid(uid) == is_usable_uid(uid)
    assert accepted(Uid, uid) == is_usable_uid(uid)
    try:
        rest_uid.validate_python(uid)
        usable = True
    except pydantic.ValidationError:
        usable = False
    assert usable == is_usable_uid(uid)
