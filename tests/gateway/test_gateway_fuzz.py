"""Whatever arrives, nobody gets a 500, and nothing is kept that is larger than a body may be."""

import asyncio
import copy
import gzip
import json
import os
import tracemalloc
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.api import HttpRequest
from tests.gateway.connection import MAX_BODY, exchange
from tests.gateway.plant import HOST, Plant, credential, furnish, request_for

# The same inputs each time where a failure must not depend on luck; a failure elsewhere prints what repeats it.
FUZZ = settings(
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    max_examples=int(os.environ.get("PENSTOCK_FUZZ", "150")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

LINES = st.sampled_from(
    [b"GET / HTTP/1.1\r\n", b"POST /a?b HTTP/1.1\r\n", b"HEAD * HTTP/1.0\r\n", b"CONNECT a:1 HTTP/1.1\r\n", b"host: h\r\n",
     b"content-length: 3\r\n", b"Content-Length: 4\r\n", b"content-length: 1001\r\n", b"content-length: -1\r\n",
     b"transfer-encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"expect: 100-continue\r\n",
     b"connection: close\r\n", b"connection: upgrade\r\nupgrade: h2c\r\n", b"connection: keep-alive, upgrade\r\nupgrade: websocket\r\n",
     b" folded\r\n", b"\r\n", b"\n", b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"ffffffff\r\n", b"3e9\r\n",
     b"GET / HTTP/1.1\r\nhost: h\r\n\r\n", b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc",
     b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"]
)  # fmt: skip
STREAM = st.lists(st.one_of(LINES, LINES, LINES, st.binary(max_size=12)), max_size=14).map(b"".join)


@FUZZ
@given(data=STREAM, sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_bytes_on_a_connection(data: bytes, sizes: list[int]) -> None:
    """However the bytes arrive, the same requests are seen, and every one of them is answered once."""
    pieces = []
    at = 0
    while at < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[at : at + size])
        at += size
    seen, answers, _ = asyncio.run(exchange([data]))
    again, answers_again, _ = asyncio.run(exchange(pieces))

    assert seen == again
    final = [status for status in answers if status != 100]
    assert final == [status for status in answers_again if status != 100]
    assert [200] * len(seen) == final[: len(seen)]
    assert set(final[len(seen) :]) <= {400, 413, 431}
    assert all(len(body) <= MAX_BODY for *_, body in seen)


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    """One Penstock for all inputs: what one of them breaks, the next one meets."""
    running = Plant()
    yield running
    running.close()


@pytest.fixture(scope="module")
def valid(plant: Plant) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Requests that reach deep."""
    return furnish(plant)


TEXTS = st.one_of(
    st.text(max_size=12),
    st.text("{}[]\":,\\ntrue0.1eSMBL<>/='&;ab!$#%.*+?-", max_size=30),
    st.sampled_from(
        ["", " ", "\0", "a" * 3000, "-1", "NaN", "1e999", "9" * 40, "null", "arn:aws:sqs:us-east-1:1:q", "arn:::::",
         "[" * 700, '{"a":' * 400 + "1" + "}" * 400, "a: &a [1]\nb: *a", "../../etc", "$LATEST", "2026-01-01T00:00:00Z", "%00%ff", "{{}}", "\ud7ff\uffff", "AKIAAAAAAAAAAAAAAAAA"]
    ),
)  # fmt: skip
BODIES = st.one_of(
    st.binary(max_size=60),
    TEXTS.map(lambda text: text.encode(errors="replace")),
    st.dictionaries(TEXTS, TEXTS, max_size=3).map(lambda each: json.dumps(each).encode()),
    st.binary(max_size=40).map(gzip.compress),
    st.sampled_from(
        [b"Action=SendMessage&MessageBody=x", b"Action=ListUsers&Version=2010-05-08", b"Action=", b"\xbf\xff", b"\xa0",
         b"<a/>", b"<CreateBucketConfiguration>", b'{"TableName":"t"}', b"[" * 2000, b"<a>" * 2000, b"\x9f" * 2000]
    ),
)  # fmt: skip
SERVICES = ("sqs", "dynamodb", "lambda", "s3", "iam", "sts", "apigateway", "cloudformation", "logs", "ssm", "monitoring")  # fmt: skip
TARGETS = ["AmazonSQS.SendMessage", "DynamoDB_20120810.PutItem", "Logs_20140328.PutLogEvents", "AmazonSSM.GetParameter",
           "AmazonSQS.Nope", "Nope.Nope", ".", "DynamoDB_20120810."]  # fmt: skip
PATHS = ["/", "/bucket", "/bucket/k", "/000000000000/q", "/2015-03-31/functions", "/2015-03-31/functions/f/invocations",
         "/restapis", "/restapis/x/resources/y/methods/GET/integration", "/service/GraniteServiceVersion20100801/operation/PutMetricData",
         "/_penstock/queues", "/_aws/execute-api/x/y", "/restapis/x/prod/_user_request_/a", "//", "/%", "/%2e%2e/", "*", "/" * 300]  # fmt: skip


@FUZZ
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"]),
    path=st.one_of(
        st.sampled_from(PATHS), TEXTS.map(lambda text: "/" + quote(text.encode(errors="replace")))
    ),
    query=st.one_of(
        st.just(""), TEXTS.map(lambda text: text.encode("ascii", "replace").decode())
    ),
    service=st.sampled_from(["", *SERVICES]),
    target=st.one_of(st.none(), st.sampled_from(TARGETS)),
    fields=st.dictionaries(
        st.sampled_from(
            ["content-type", "content-encoding", "smithy-protocol", "x-amz-content-sha256", "x-amz-date", "range",
             "x-amz-copy-source", "content-md5", "x-amz-meta-a", "if-match", "x-amz-tagging", "x-amz-decoded-content-length"]
        ),
        st.one_of(
            TEXTS.map(lambda text: text.encode("latin-1", "replace").decode("latin-1")),
            st.sampled_from(
                ["application/x-www-form-urlencoded", "application/x-amz-json-1.0", "application/cbor", "gzip", "aws-chunked",
                 "rpc-v2-cbor", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "bytes=0-", "bytes=-0", "b/k"]
            ),
        ),
        max_size=4,
    ),
    body=BODIES,
)  # fmt: skip
def test_any_request(
    plant: Plant,
    method: str,
    path: str,
    query: str,
    service: str,
    target: str | None,
    fields: dict[str, str],
    body: bytes,
) -> None:
    """Every protocol, door and service sees nonsense."""
    headers = {"host": HOST, **fields}
    if service:
        headers["authorization"] = credential(service)
    if target:
        headers["x-amz-target"] = target

    assert 500 != plant.send(HttpRequest(method, path, query, headers, body)).status


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.integers(), st.floats(), TEXTS,
    st.lists(TEXTS, max_size=2), st.dictionaries(TEXTS, TEXTS, max_size=2),
)  # fmt: skip


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below a document."""
    keys: list[Any] = []
    if isinstance(node, dict):
        keys = list(node)
    elif isinstance(node, list):
        keys = list(range(len(node)))
    found = [(node, key) for key in keys]
    return found + [place for key in keys for place in _places(node[key])]


def _bent_document(data: st.DataObject, document: Any) -> Any:
    """One or two values of a document replaced, moved, doubled or removed."""
    document = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 2))):
        places = _places(document)
        if not places:
            return document
        container, key = data.draw(st.sampled_from(places))
        match data.draw(st.integers(0, 4)):
            case 0:
                del container[key]
            case 1 if isinstance(container, dict):
                container[data.draw(TEXTS)] = container.pop(key)
            case 2:
                container[key] = [container[key]] * 3
            case _:
                container[key] = data.draw(ODD)
    return document


def _bent_bytes(data: st.DataObject, body: bytes) -> bytes:
    """A piece of the bytes replaced or doubled."""
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 20)))
    piece = data.draw(st.one_of(st.just(body[start:end] * 2), BODIES))
    return body[:start] + piece + body[end:]


def _bent(data: st.DataObject, request: HttpRequest) -> HttpRequest:
    body = request.body
    where = data.draw(st.sampled_from(["body", "body", "body", "path", "query", "header"]))
    if where == "path":
        parts = request.path.split("/")
        parts[data.draw(st.integers(0, len(parts) - 1))] = quote(data.draw(TEXTS), safe="")
        request.path = "/" + "/".join(parts).lstrip("/")
    elif where == "query" or (where == "body" and not body):
        pairs = [*request.query.split("&"), "a=b"]
        name, _, _ = data.draw(st.sampled_from(pairs)).partition("=")
        request.query += f"&{name}={quote(data.draw(TEXTS))}"
    elif where == "header":
        name = data.draw(st.sampled_from(sorted(request.headers.items())))[0]
        changed = data.draw(TEXTS).encode("latin-1", "replace").decode("latin-1")
        request.headers = {**dict(request.headers.items()), name: changed}  # type: ignore[assignment]
    elif body.startswith(b"{") and data.draw(st.integers(0, 3)):
        request.body = json.dumps(_bent_document(data, json.loads(body))).encode()
    elif b"Action=" in body and data.draw(st.integers(0, 3)):
        fields = body.decode().split("&")
        place = data.draw(st.integers(1, len(fields) - 1))
        name, _, value = fields[place].partition("=")
        if data.draw(st.booleans()):
            fields[place] = f"{name}={quote(data.draw(TEXTS))}"
        else:
            fields[place] = f"{name[: data.draw(st.integers(0, len(name)))]}={value}"
        request.body = "&".join(fields).encode()
    else:
        request.body = _bent_bytes(data, body)
    return request


@pytest.mark.parametrize(
    "service", ["sqs", "dynamodb", "lambda", "s3", "iam", "apigateway", "cloudformation"]
)
@FUZZ
@given(data=st.data())
def test_almost_valid_requests(
    plant: Plant,
    valid: dict[str, list[tuple[str, dict[str, Any]]]],
    service: str,
    data: st.DataObject,
) -> None:
    """What is nearly right gets furthest: every check behind the parser meets a value that it did not expect."""
    operation, params = data.draw(st.sampled_from(valid[service]))
    request = _bent(data, request_for(service, operation, params))

    answer = plant.send(request)
    assert 500 != answer.status, (request, answer.body)


def test_compressed_bodies_do_not_grow_beyond_the_limit() -> None:
    """A small body that would become a large one is refused before it has become one."""
    plant = Plant(max_body=1 << 20)
    bomb = gzip.compress(bytes(256 << 20))
    fields = {
        "host": HOST,
        "content-encoding": "gzip",
        "content-type": "application/x-www-form-urlencoded",
    }
    headers = [
        {**fields, "x-amz-target": "AmazonSQS.ListQueues"},
        {**fields, "authorization": credential("iam")},
        {**fields, "authorization": credential("lambda")},
    ]
    for each, path in zip(headers, ("/", "/", "/2015-03-31/functions"), strict=True):
        plant.send(HttpRequest("POST", path, "", each, gzip.compress(b"{}")))
        tracemalloc.start()
        answer = plant.send(HttpRequest("POST", path, "", each, bomb))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert 413 == answer.status
        assert peak < 8 << 20
    plant.close()
