import pytest
from hypothesis import given
from hypothesis import strategies as st

from swallowtail.cloud.model.credentials import (
    ALPHABET,
    SYMBOLS,
    KeyedHash,
    MistypedCodeError,
    mint_code,
    mint_token,
    normalise_code,
)

PLAIN = normalise_code(mint_code())


def test_a_code_is_groups_of_four_with_at_least_128_random_bits() -> None:
    code = mint_code()
    assert [len(group) for group in code.split("-")] == [4] * 7
    assert set(code) <= set(ALPHABET + "-")
    assert SYMBOLS * 5 - 1 >= 128  # redrawing costs log2(37/32) bits


def test_a_remainder_that_has_no_symbol_is_drawn_again() -> None:
    draws = iter([(36 << 1).to_bytes(17, "big"), (37 << 1).to_bytes(17, "big")])
    assert normalise_code(mint_code(lambda _: next(draws))) == "0" * 25 + "150"


@pytest.mark.parametrize("position", range(SYMBOLS + 1))
def test_every_single_wrong_symbol_is_found(position: int) -> None:
    for symbol in ALPHABET:
        if symbol != PLAIN[position]:
            with pytest.raises(MistypedCodeError):
                normalise_code(PLAIN[:position] + symbol + PLAIN[position + 1 :])


@given(
    st.binary(min_size=17, max_size=17).filter(
        lambda seed: (int.from_bytes(seed, "big") >> 1) % 37 < 32
    ),
    st.integers(0, 26),
)
def test_every_swap_of_neighbours_is_found(seed: bytes, position: int) -> None:
    code = normalise_code(mint_code(lambda _: seed))
    swapped = code[:position] + code[position + 1] + code[position] + code[position + 2 :]
    if swapped != code:
        with pytest.raises(MistypedCodeError):
            normalise_code(swapped)


def test_a_person_may_type_letters_for_digits_lower_case_spaces_and_other_dashes() -> None:
    code = mint_code(lambda n: (37 << 1).to_bytes(n, "big"))
    typed = code.lower().replace("0", "o").replace("1", "l").replace("-", " \u2013 ")
    assert normalise_code(f"  {typed}\n") == normalise_code(code)


@pytest.mark.parametrize(
    "text", ["", "-", "0", "U" * 28, "é" * 28, "0" * 27, "0" * 29, "0" * 10_000, "\u0660" * 28]
)
def test_what_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(MistypedCodeError):
        normalise_code(text)


def test_the_hash_depends_on_pepper_purpose_and_secret_but_not_on_how_it_was_typed() -> None:
    one, other = KeyedHash(b"p" * 32), KeyedHash(b"q" * 32)
    code = mint_code()
    assert one.of_code(code) == one.of_code(code.lower().replace("-", ""))
    assert one.of_code(code) != other.of_code(code)
    assert one.of_code(code) != one.of_token(normalise_code(code))
    assert one.of_code(code[:-1]) not in {one.of_code(code), one.of_token(code[:-1])}


def test_a_mistyped_code_has_the_hash_of_no_code() -> None:
    hashes = KeyedHash(b"p" * 32)
    code = normalise_code(mint_code())
    assert hashes.of_code(code[:-1] + ("0" if code[-1] != "0" else "1")) != hashes.of_code(code)
    assert hashes.of_code("\ud800" * 1000) == hashes.of_code("\ud800" * 256)


def test_a_token_has_a_prefix_that_secret_scanners_find() -> None:
    token = mint_token()
    assert token.startswith("swt_")
    assert len(token) == 4 + 48
    assert token != mint_token()


def test_a_short_pepper_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        KeyedHash(b"short")
