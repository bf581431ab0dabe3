"""Cyclic redundancy checks that the standard library lacks, and the check of two byte strings joined.

All are reflected, begin with ones and end inverted, as CRC-32 does.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final


@dataclass(frozen=True, slots=True)
class Crc:
    """A check of `bits` bits by a `polynomial`, lowest power in the highest bit."""

    bits: int
    polynomial: int

    def of(self, data: bytes) -> int:
        """The check of `data`, two bytes a step."""
        table = _table(self)
        check = (1 << self.bits) - 1
        even = len(data) & ~1
        for pair in _pairs(data[:even]):
            check = table[(check ^ pair) & 0xFFFF] ^ (check >> 16)
        if even < len(data):
            check = _shifted(self, (check ^ data[-1]) & 0xFF, 8) ^ (check >> 8)
        return check ^ ((1 << self.bits) - 1)

    def joined(self, first: int, second: int, length: int) -> int:
        """The check of a string with check `first` followed by one of `length` bytes with check `second`."""
        power, factor, exponent = 1 << (self.bits - 1), 1 << (self.bits - 2), 8 * length
        while exponent:
            if exponent & 1:
                power = self._product(power, factor)
            factor = self._product(factor, factor)
            exponent >>= 1
        return self._product(power, first) ^ second

    def _product(self, left: int, right: int) -> int:
        product = 0
        for place in range(self.bits - 1, -1, -1):
            if left >> place & 1:
                product ^= right
            right = _shifted(self, right, 1)
        return product


CRC32: Final = Crc(32, 0xEDB88320)
CRC32C: Final = Crc(32, 0x82F63B78)
CRC64NVME: Final = Crc(64, 0x9A6C9329AC4BC9B5)


def _shifted(crc: Crc, value: int, places: int) -> int:
    for _ in range(places):
        value = value >> 1 ^ crc.polynomial if value & 1 else value >> 1
    return value


@cache
def _table(crc: Crc) -> Sequence[int]:
    low = [_shifted(crc, value, 8) for value in range(256)]
    # The check of two bytes is that of the first, shifted by the second.
    return tuple(
        low[(low[value & 0xFF] ^ value >> 8) & 0xFF] ^ low[value & 0xFF] >> 8
        for value in range(1 << 16)
    )


def _pairs(data: bytes) -> Sequence[int]:
    """Two bytes a number, the first the lower, whatever the machine's own order."""
    pairs = array("H", data)
    if array("H", [1]).tobytes() != b"\1\0":
        pairs.byteswap()
    return pairs
