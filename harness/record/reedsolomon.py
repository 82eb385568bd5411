"""Reed-Solomon code over bytes: puts right what a channel garbled or lost.

A word is the data followed by `parity` check bytes. Up to `parity` bytes whose places are known
to be bad (erasures) can be put right, or half as many anywhere, or a mixture: twice the errors
plus the erasures must not exceed `parity`. Arithmetic is in GF(2^8) with the polynomial
x^8+x^4+x^3+x^2+1 and the generator 2, code roots 2^0 to 2^(parity-1) (as in ISO/IEC 16022 and
QR codes, ISO/IEC 18004); decoding is by Berlekamp-Massey, Chien and Forney. Polynomials are
lists of coefficients, the lowest power first.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WORD_BYTES_MAX = 255
_FIELD_POLYNOMIAL = 0x11D


def _tables() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Powers of the generator (twice over, so that sums of logarithms need no modulo), and logs."""
    powers, logs, value = [0] * 510, [0] * 256, 1
    for exponent in range(255):
        powers[exponent] = powers[exponent + 255] = value
        logs[value] = exponent
        value <<= 1
        if value & 0x100:
            value ^= _FIELD_POLYNOMIAL
    return tuple(powers), tuple(logs)


_POWER, _LOG = _tables()


def encode(data: bytes, parity: int) -> bytes:
    """`data` followed by `parity` check bytes. Raises `ValueError` beyond 255 bytes in all."""
    if not 1 <= parity <= WORD_BYTES_MAX - len(data):
        raise ValueError(f"{len(data)} bytes and {parity} check bytes: 255 in all at most")
    generator = _generator(parity)
    rest = [0] * parity  # highest power first
    for byte in data:
        factor = byte ^ rest[0]
        rest = [*rest[1:], 0]
        if factor:
            rest = [a ^ _times(factor, g) for a, g in zip(rest, generator, strict=True)]
    return data + bytes(rest)


def decode(word: bytes, parity: int, erasures: Sequence[int] = ()) -> bytes | None:
    """The data of `word` with its errors put right; None where there are too many.

    `erasures` are the positions, counted from 0, that are known to be bad.
    """
    if len(erasures) > parity:
        return None
    syndromes = _syndromes(word, parity)
    if not any(syndromes):
        return word[:-parity]
    locator = _locator(syndromes, [len(word) - 1 - place for place in erasures])
    if locator is None:
        return None
    powers = [p for p in range(len(word)) if _value(locator, _POWER[255 - p]) == 0]
    if len(powers) != len(locator) - 1:
        return None
    fixed = bytearray(word)
    for power, error in zip(powers, _magnitudes(syndromes, locator, powers), strict=True):
        fixed[len(word) - 1 - power] ^= error
    return None if any(_syndromes(fixed, parity)) else bytes(fixed[:-parity])


def _times(a: int, b: int) -> int:
    return _POWER[_LOG[a] + _LOG[b]] if a and b else 0


def _value(polynomial: Sequence[int], x: int) -> int:
    """Of `polynomial` at `x`, by Horner's rule."""
    result = 0
    for coefficient in reversed(polynomial):
        result = _times(result, x) ^ coefficient
    return result


def _product(a: Sequence[int], b: Sequence[int]) -> list[int]:
    result = [0] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            result[i + j] ^= _times(x, y)
    return result


@lru_cache(maxsize=8)
def _generator(parity: int) -> tuple[int, ...]:
    """Without its leading 1, the highest power first."""
    polynomial = [1]
    for root in range(parity):
        polynomial = _product(polynomial, [_POWER[root], 1])
    return tuple(reversed(polynomial[:-1]))


def _syndromes(word: bytes | bytearray, parity: int) -> list[int]:
    """The word's values at the roots of the code: all 0 where nothing is wrong."""
    backwards = word[::-1]
    return [_value(backwards, _POWER[root]) for root in range(parity)]


def _locator(syndromes: list[int], erased: list[int]) -> list[int] | None:
    """The polynomial whose roots tell where errors and erasures are (Berlekamp-Massey).

    It starts from the polynomial of the erasures. None where there are more errors than the
    check bytes can tell.
    """
    current = [1]
    for power in erased:
        current = _product(current, [1, _POWER[power]])
    previous, degree = current, len(erased)
    for step in range(len(erased), len(syndromes)):
        previous = [0, *previous]
        delta = 0
        for i, coefficient in enumerate(current[: step + 1]):
            delta ^= _times(coefficient, syndromes[step - i])
        if not delta:
            continue
        corrected = _sum(current, [_times(delta, c) for c in previous])
        if 2 * degree <= step + len(erased):
            degree = step + 1 + len(erased) - degree
            previous = [_times(_POWER[255 - _LOG[delta]], c) for c in current]
        current = corrected
    while current[-1] == 0:
        current.pop()
    errors = len(current) - 1 - len(erased)
    return None if 2 * errors + len(erased) > len(syndromes) else current


def _sum(a: Sequence[int], b: Sequence[int]) -> list[int]:
    length = max(len(a), len(b))
    return [(a[i] if i < len(a) else 0) ^ (b[i] if i < len(b) else 0) for i in range(length)]


def _magnitudes(syndromes: list[int], locator: list[int], powers: list[int]) -> list[int]:
    """What is wrong at the places x^`powers` (Forney)."""
    evaluator = _product(syndromes, locator)[: len(syndromes)]
    derivative = [c if i % 2 == 0 else 0 for i, c in enumerate(locator[1:])]
    result = []
    for power in powers:
        inverse = _POWER[255 - power]
        slope = _value(derivative, inverse)
        ratio = _times(_value(evaluator, inverse), _POWER[255 - _LOG[slope]])
        result.append(_times(_POWER[power], ratio))  # X^(1 - b) with the first root 2^0: b = 0
    return result
