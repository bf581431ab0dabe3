"""Framed bodies that come in pieces: content, signatures and trailers, wherever the pieces are cut."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import AwsError
from penstock.wire.sigv4 import verify
from penstock.wire.streamed import content_of
from tests.wire.test_sigv4 import EXAMPLE_AT, PLAIN, TRAILER, chunked, example_secret

BOTH = pytest.mark.parametrize("example", [PLAIN, TRAILER], ids=["plain", "trailer"])


class Pieces:
    """A body in pieces of the given sizes, the last one over and over."""

    length = sha256 = None
    announced = ()
    trailers = {}  # noqa: RUF012

    def __init__(self, body, sizes):
        self.body = body
        self.sizes = list(sizes)

    async def read(self):
        size = self.sizes.pop(0) if len(self.sizes) > 1 else self.sizes[0]
        piece, self.body = self.body[:size], self.body[size:]
        return piece


def content(example, sizes, change=lambda body: body):
    """The content of a signed upload, and the trailers that follow it."""
    request = chunked(example)
    request.stream = Pieces(change(request.body), sizes)
    request.body = b""
    verify(request, example_secret, EXAMPLE_AT)
    stream = content_of(request)

    async def all_of_it():
        found = []
        while piece := await stream.read():
            found.append(piece)
        return b"".join(found)

    return asyncio.run(all_of_it()), stream.trailers


@BOTH
@given(sizes=st.lists(st.integers(1, 70_000), min_size=1, max_size=5))
def test_content_wherever_it_is_cut(example, sizes):
    """Where the network cuts a body changes nothing of it."""
    found, trailers = content(example, [*sizes, 9_000])
    assert b"a" * 66_560 == found
    if example is TRAILER:
        assert "sOO8/Q==" == trailers["x-amz-checksum-crc32c"]


@BOTH
@pytest.mark.parametrize("size", [1000, 65_600, 100_000])
def test_bent_chunks(example, size):
    """One other byte, one other signature, one other trailer: none of them passes."""
    for old, new in (
        (b"a" * 100, b"a" * 99 + b"b"),
        (b"chunk-signature=b", b"chunk-signature=c"),
        (b"chunk-signature=2c", b"chunk-signature=3c"),
        (b"sOO8", b"sOO9"),
        (b"x-amz-trailer-signature:d", b"x-amz-trailer-signature:e"),
    ):
        if old in chunked(example).body:
            with pytest.raises(AwsError, match="SignatureDoesNotMatch"):
                content(example, [size], lambda body, old=old, new=new: body.replace(old, new, 1))


@BOTH
def test_cut_off(example):
    """A body that ends early, or whose frames do not fit, is incomplete."""
    for change in (
        lambda body: body[:60_000],
        lambda body: body[:66_000],
        lambda body: b"zz" + body,
        lambda body: b"1" * 2000 + body,
    ):
        with pytest.raises(AwsError, match="IncompleteBody"):
            content(example, [7_000], change)
