"""CRC-32C (Castagnoli), as TFRecords have it, in NumPy.

The sum is linear in the bits of the data, so a record is cut into pieces of `_PIECE` bytes whose sums are
found side by side, two bytes a step for all of them, and joined in pairs: the sum of AB is the sum of A moved
on by the length of B, plus that of B. Zeros before the data do not change a sum that begins at zero; that it
begins with ones is the same as turning over the first four bytes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8
_PIECE = 128


@lru_cache(maxsize=1)
def _two_bytes() -> NDArray[np.uint32]:
    """What two bytes of zeros make of a state, by the lower half of the state: uint32 [65536]."""
    table = np.arange(1 << 16, dtype=np.uint32)
    for _ in range(16):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


@lru_cache(maxsize=64)
def _moved_bits(pieces: int) -> NDArray[np.uint32]:
    """What `pieces` (a power of two) times `_PIECE` zeros make of each bit of a state: uint32 [32]."""
    if pieces > 1:
        return _moved(pieces // 2, _moved_bits(pieces // 2))
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    for _ in range(_PIECE // 2):
        bits = _two_bytes()[bits & 0xFFFF] ^ (bits >> np.uint32(16))
    return bits


@lru_cache(maxsize=64)
def _moved_halves(pieces: int) -> NDArray[np.uint32]:
    """What `pieces` times `_PIECE` zeros make of the lower and of the upper half of a state: [2, 65536]."""
    halves = np.zeros((2, 1 << 16), np.uint32)
    for bit, moved in enumerate(_moved_bits(pieces)):
        half, place = halves[bit // 16], 1 << bit % 16
        half[place : 2 * place] = half[:place] ^ moved
    return halves


def _moved(pieces: int, states: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """States after `pieces` times `_PIECE` zeros."""
    low, high = _moved_halves(pieces)
    return low[states & 0xFFFF] ^ high[states >> np.uint32(16)]


def crc32c(data: bytes | memoryview) -> int:
    """The CRC-32C of `data`."""
    raw = np.frombuffer(data, np.uint8)
    if len(raw) < 4:
        state = 0xFFFFFFFF
        for byte in raw:
            state ^= int(byte)
            for _ in range(8):
                state = state >> 1 ^ (_POLYNOMIAL if state & 1 else 0)
        return state ^ 0xFFFFFFFF
    pieces = 1 << max(0, (len(raw) - 1) // _PIECE).bit_length()
    padded = np.zeros(pieces * _PIECE, np.uint8)
    padded[-len(raw) :] = raw
    padded[len(padded) - len(raw) :][:4] ^= 0xFF
    words = np.ascontiguousarray(padded.view("<u2").reshape(pieces, -1).T).astype(np.uint32)
    table = _two_bytes()
    states = np.zeros(pieces, np.uint32)
    for word in words:
        states = table[(states ^ word) & 0xFFFF] ^ (states >> np.uint32(16))
    joined = 1
    while len(states) > 1:
        states = _moved(joined, states[::2]) ^ states[1::2]
        joined *= 2
    return int(states[0]) ^ 0xFFFFFFFF


def masked_crc32c(data: bytes | memoryview) -> int:
    """The sum as TFRecords store it: turned by 15 bits, with a constant added."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
