"""Requests that a proxy in front of us could read otherwise: each is refused, or read in the one way that the RFCs allow."""

import asyncio

import pytest

from tests.gateway.connection import exchange

HEAD = b"POST /a HTTP/1.1\r\nhost: h\r\n"
NEXT = b"GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n"
REFUSED = {
    "length and chunks": HEAD + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "chunks and length": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n" + NEXT,
    "two lengths": HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab" + NEXT,
    "a list of lengths": HEAD + b"content-length: 1,1\r\n\r\na" + NEXT,
    "a signed length": HEAD + b"content-length: +1\r\n\r\na" + NEXT,
    "a space before the colon": HEAD + b"content-length : 1\r\n\r\na" + NEXT,
    "a folded line": HEAD + b"x-a: b\r\n c\r\n\r\n" + NEXT,
    "bare line feeds": b"POST /a HTTP/1.1\nhost: h\n\n" + NEXT,
    "a bare carriage return": HEAD + b"x: a\rb\r\n\r\n" + NEXT,
    "a null byte": HEAD + b"x: a\0b\r\n\r\n" + NEXT,
    "an unknown coding": HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + NEXT,
    "a coding below chunks": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "chunks not last": HEAD + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + NEXT,
    "two codings": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n" + NEXT,
    "a huge chunk": HEAD + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\na" + NEXT,
    "a chunk that is longer than it says": HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n" + NEXT,
    "no host": b"POST /a HTTP/1.1\r\n\r\n" + NEXT,
    "two hosts": HEAD + b"host: other\r\n\r\n" + NEXT,
    "a tunnel": b"CONNECT h:1 HTTP/1.1\r\nhost: h\r\n\r\n" + NEXT,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("pieces", [1 << 20, 7], ids=["at once", "in pieces"])
@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_ambiguous_requests_are_refused(data: bytes, pieces: int) -> None:
    """Whoever disagrees about where a request ends hands the rest to somebody else."""
    parts = [data[at : at + pieces] for at in range(0, len(data), pieces)]

    assert ([], [400], True) == asyncio.run(exchange(parts))


def test_trailers_are_not_headers() -> None:
    """What comes behind the body must not change what was asked, nor fill the memory."""
    chunked = HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    seen, answers, _ = asyncio.run(
        exchange([chunked + b"x-amz-target: AmazonSQS.PurgeQueue\r\n\r\n"])
    )
    assert [200] == answers
    assert (("host", "h"), ("transfer-encoding", "chunked")) == seen[0][3]
    endless = [chunked, *[b"x: " + b"y" * 1000 + b"\r\n"] * 1000]
    assert ([], [431], True) == asyncio.run(exchange(endless))


def test_upgrade_is_declined_with_its_body() -> None:
    """Java's HTTP client asks for HTTP/2 in its first request, whatever it carries."""
    wish = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAEA\r\n"
    data = HEAD + wish + b"content-length: 3\r\n\r\nabc" + NEXT
    for size in (1 << 20, 5):
        seen, answers, closed = asyncio.run(
            exchange([data[at : at + size] for at in range(0, len(data), size)])
        )
        assert ([200, 200], False) == (answers, closed)
        assert [("/a", b"abc"), ("/smuggled", b"")] == [(one[1], one[4]) for one in seen]


def test_absolute_form() -> None:
    """A client that takes us for a proxy means the same path."""
    data = b"GET http://other/a/b?c=d HTTP/1.1\r\nhost: h\r\n\r\n"
    seen, _, _ = asyncio.run(exchange([data]))

    assert ("/a/b", "c=d") == seen[0][1:3]


def test_old_health_checks_need_no_host() -> None:
    """HTTP/1.0 knows no host; the connection ends with the answer."""
    assert ([200], True) == asyncio.run(exchange([b"GET / HTTP/1.0\r\n\r\n"]))[1:]
