from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.record.reedsolomon import decode, encode


@given(st.data(), st.binary(min_size=1, max_size=30), st.integers(2, 14))
def test_errors_and_erasures_within_the_bound_are_put_right(
    data: st.DataObject, message: bytes, parity: int
) -> None:
    word = bytearray(encode(message, parity))
    erased = data.draw(st.integers(0, parity))
    wrong = data.draw(st.integers(0, (parity - erased) // 2))
    places = data.draw(
        st.lists(
            st.integers(0, len(word) - 1),
            min_size=min(len(word), erased + wrong),
            max_size=min(len(word), erased + wrong),
            unique=True,
        )
    )
    for place in places:
        word[place] ^= data.draw(st.integers(1, 255))
    assert decode(bytes(word), parity, places[:erased]) == message


def test_a_word_of_the_qr_code_standard() -> None:
    """The example of ISO/IEC 18004, annex I: version 1-M, the digits 01234567."""
    data = bytes.fromhex("10200c566180ec11ec11ec11ec11ec11")
    assert encode(data, 10)[16:] == bytes.fromhex("a524d4c1ed36c7872c55")


@given(st.binary(min_size=22, max_size=22))
def test_any_word_decodes_to_a_code_word_nearby_or_to_nothing(word: bytes) -> None:
    data = decode(word, 11)
    if data is not None:
        near = encode(data, 11)
        assert sum(a != b for a, b in zip(near, word, strict=True)) <= 5


def test_too_much_damage_and_too_long_words() -> None:
    word = bytearray(encode(b"hello world", 11))
    assert decode(bytes(word), 11, range(12)) is None
    for place in range(9):
        word[place] ^= 0x55
    assert decode(bytes(word), 11) != b"hello world"
    with pytest.raises(ValueError, match="255 in all"):
        encode(bytes(250), 6)
