"""Cyclic redundancy checks that the standard library lacks, and the check of two byte strings joined.

All are reflected, begin with ones and end inverted, as CRC-32 does.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

# A long string is cut into this many lanes, whose checks are computed side by side.
_LANES: Final = 2048
_SHORTEST: Final = 32


@dataclass(frozen=True, slots=True)
class Crc:
    """A check of `bits` bits by a `polynomial`, lowest power in the highest bit."""

    bits: int
    polynomial: int

    def of(self, data: bytes) -> int:
        """The check of `data`."""
        length = len(data) // _LANES
        if length < _SHORTEST:
            return self._serial(data)
        end = _LANES * length
        power, check = self._power(length), 0
        for lane in self._lanes(data[:end], length):
            check = self._product(power, check) ^ lane
        return self.joined(check, self._serial(data[end:]), len(data) - end)

    def joined(self, first: int, second: int, length: int) -> int:
        """The check of a string with check `first` followed by one of `length` bytes with check `second`."""
        return self._product(self._power(length), first) ^ second

    def _serial(self, data: bytes) -> int:
        table = _table(self)
        ones = check = (1 << self.bits) - 1
        for byte in data:
            check = table[(check ^ byte) & 0xFF] ^ check >> 8
        return check ^ ones

    def _lanes(self, data: bytes, length: int) -> list[int]:
        """The checks of the pieces of `length` bytes that `data` is made of.

        A register's bytes are kept apart: number n holds byte n of every lane, so one operation of the interpreter
        moves all lanes on.
        """
        size = self.bits // 8
        columns = _columns(self)
        ones = (1 << 8 * _LANES) - 1
        registers = [ones] * size
        for place in range(length):
            found = registers[0] ^ int.from_bytes(data[place::length], "little")
            index = found.to_bytes(_LANES, "little")
            shifted = [*registers[1:], 0]
            registers = [
                old ^ int.from_bytes(index.translate(column), "little")
                for old, column in zip(shifted, columns, strict=True)
            ]
        parts = [(register ^ ones).to_bytes(_LANES, "little") for register in registers]
        return [int.from_bytes(bytes(lane), "little") for lane in zip(*parts, strict=True)]

    def _power(self, length: int) -> int:
        """What `length` bytes multiply the check before them with."""
        power, factor, exponent = 1 << (self.bits - 1), 1 << (self.bits - 2), 8 * length
        while exponent:
            if exponent & 1:
                power = self._product(power, factor)
            factor = self._product(factor, factor)
            exponent >>= 1
        return power

    def _product(self, left: int, right: int) -> int:
        product = 0
        for place in range(self.bits - 1, -1, -1):
            if left >> place & 1:
                product ^= right
            right = right >> 1 ^ self.polynomial if right & 1 else right >> 1
        return product


CRC32: Final = Crc(32, 0xEDB88320)
CRC32C: Final = Crc(32, 0x82F63B78)
CRC64NVME: Final = Crc(64, 0x9A6C9329AC4BC9B5)


@cache
def _table(crc: Crc) -> tuple[int, ...]:
    """What each value of the lowest byte adds to a register that is shifted by a byte."""
    values = list(range(256))
    for _ in range(8):
        values = [v >> 1 ^ crc.polynomial if v & 1 else v >> 1 for v in values]
    return tuple(values)


@cache
def _columns(crc: Crc) -> tuple[bytes, ...]:
    """The table's bytes, lowest first, each as a translation."""
    return tuple(bytes(v >> shift & 0xFF for v in _table(crc)) for shift in range(0, crc.bits, 8))
