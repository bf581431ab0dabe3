"""Cyclic redundancy checks against published values and the standard library."""

import random
import zlib

from hypothesis import given
from hypothesis import strategies as st

from penstock.core.crc import CRC32, CRC32C, CRC64NVME


def test_check_values() -> None:
    """The values that catalogues of CRCs give for these nine digits."""
    assert 0xE3069283 == CRC32C.of(b"123456789")
    assert 0xAE8B14860A799888 == CRC64NVME.of(b"123456789")


@given(st.binary(max_size=99))
def test_agrees_with_the_library(data: bytes) -> None:
    """The algorithm is the library's, but for the polynomial."""
    assert zlib.crc32(data) == CRC32.of(data)


def test_long_strings_agree_with_the_library() -> None:
    """Long strings are cut into lanes, with something left at the end."""
    data = random.Random(1).randbytes(2048 * 33 + 7)
    assert zlib.crc32(data) == CRC32.of(data)
    split = 2048 * 32 + 1
    joined = CRC64NVME.joined(
        CRC64NVME.of(data[:split]), CRC64NVME.of(data[split:]), len(data) - split
    )
    assert CRC64NVME.of(data) == joined


@given(st.binary(max_size=99), st.binary(max_size=99))
def test_joined(first: bytes, second: bytes) -> None:
    """A multipart upload's checksum comes from its parts', without their bytes."""
    for crc in (CRC32, CRC32C, CRC64NVME):
        joined = crc.joined(crc.of(first), crc.of(second), len(second))
        assert crc.of(first + second) == joined
