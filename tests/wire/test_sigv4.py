"""Signatures made by botocore, checked by us."""

import datetime
import re

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.api import HttpRequest
from penstock.core.errors import AwsError
from penstock.gateway.text import RepeatedFields
from penstock.wire.sigv4 import Credential, credential_of, verify

KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
CASES = [
    ("POST", "/", "", b'{"a":1}', "sqs"),
    ("GET", "/2015-03-31/functions/arn%3Aaws%3Alambda%3Af/x", "Qualifier=a%20b&A=", b"", "lambda"),
    ("GET", "/restapis//x/../y", "a-b=1&a=2&z", b"", "apigateway"),
    ("PUT", "/b/k/a%20b//%C3%A9", "partNumber=1&uploadId=x%2By", b"data", "s3"),
]


def now():
    return int(datetime.datetime.now(datetime.UTC).timestamp() * 1000)


def secret_of(key):
    return KEYS.secret_key if key == KEYS.access_key else None


def sign(method, path, query, body, service, presigned=False):
    url = f"http://localhost:4566{path}" + (f"?{query}" if query else "")
    headers = {} if presigned else {"X-Spaced": "  a   b "}
    sent = AWSRequest(method=method, url=url, data=body, headers=headers)
    if presigned:
        # botocore moves a body into the query of a presigned request.
        sent.data = body = b""
        kind = S3SigV4QueryAuth if service == "s3" else SigV4QueryAuth
        kind(KEYS, service, "us-east-1", expires=60).add_auth(sent)
    else:
        (S3SigV4Auth if service == "s3" else SigV4Auth)(KEYS, service, "us-east-1").add_auth(sent)
    headers = {name.lower(): value for name, value in sent.headers.items()}
    headers.setdefault("host", "localhost:4566")
    path, _, query = sent.url.removeprefix("http://localhost:4566").partition("?")
    return HttpRequest(method, path, query, headers, body)


@pytest.mark.parametrize("presigned", [False, True])
@pytest.mark.parametrize("case", CASES, ids=[case[4] for case in CASES])
def test_genuine_requests_pass(case, presigned):
    """botocore is the reference for every canonicalisation rule."""
    sent = sign(*case, presigned=presigned)
    credential = verify(sent, secret_of, now())
    assert (KEYS.access_key, "us-east-1", case[4]) == (
        credential.access_key,
        credential.region,
        credential.service,
    )
    assert credential == credential_of(sent)


@pytest.mark.parametrize("presigned", [False, True])
@pytest.mark.parametrize("case", CASES, ids=[case[4] for case in CASES])
def test_changed_requests_fail(case, presigned):
    """Method, path, query and (where it is signed) body are covered."""
    for change in ("method", "path", "query", "body"):
        sent = sign(*case, presigned=presigned)
        if change == "body" and presigned and case[4] == "s3":
            continue
        old = getattr(sent, change)
        setattr(
            sent, change, old + (b"!" if change == "body" else "&x=1" if change == "query" else "x")
        )
        with pytest.raises(AwsError) as caught:
            verify(sent, secret_of, now())
        assert caught.value.code in ("SignatureDoesNotMatch", "XAmzContentSHA256Mismatch")


def code_of(sent, at=None, secrets=secret_of):
    with pytest.raises(AwsError) as caught:
        verify(sent, secrets, now() if at is None else at)
    return caught.value.code


def test_failures_have_their_codes():
    """Clients tell a wrong clock from a wrong key by the code."""
    sent = sign(*CASES[0])
    assert "MissingAuthenticationToken" == code_of(HttpRequest("GET", "/", "", {}))
    assert "UnrecognizedClientException" == code_of(sent, secrets=lambda _: None)
    assert "SignatureDoesNotMatch" == code_of(sent, secrets=lambda _: "other")
    for minutes in (-16, 16):
        assert "RequestTimeTooSkewed" == code_of(sent, now() + minutes * 60_000)
        assert "RequestTimeTooSkewed" == code_of(sign(*CASES[3]), now() + minutes * 60_000)
    assert "RequestExpired" == code_of(sign(*CASES[1], presigned=True), now() + 61_000)
    assert "RequestExpired" == code_of(sign(*CASES[3], presigned=True), now() + 61_000)
    assert "RequestExpired" == code_of(sign(*CASES[1], presigned=True), now() - 16 * 60_000)
    # S3 looks at the clock last, the others first.
    assert "SignatureDoesNotMatch" == code_of(sign(*CASES[3]), 0, lambda _: "other")
    assert "RequestTimeTooSkewed" == code_of(sent, 0, lambda _: "other")


def refusal(sent, old, new, name="authorization"):
    """What is said of a request after a change of one header field (of the query when it is presigned)."""
    if name == "x-amz-date":
        sent.headers[name] = new
    elif name in sent.headers:
        sent.headers[name] = sent.headers[name].replace(old, new)
    else:
        sent.query = sent.query.replace(old, new)
    with pytest.raises(AwsError) as caught:
        verify(sent, secret_of, now())
    return caught.value.code, caught.value.message


NO_COMPONENTS = (
    "AuthorizationHeaderMalformed",
    "The authorization header is malformed; the authorization header requires three components: "
    "Credential, SignedHeaders, and Signature.",
)
SEVEN = (
    "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
    "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
)


def test_broken_headers_are_told_as_aws_does():
    """The texts are what people search for; those of S3 are its own."""
    code, text = refusal(sign(*CASES[0]), "Credential=", "Credentials=")
    assert "IncompleteSignature" == code
    assert text.startswith("Authorization header requires 'Credential' parameter. Authorization=")
    assert NO_COMPONENTS == refusal(sign(*CASES[3]), "Signature=", "Sig=")
    assert (
        "IncompleteSignature",
        "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA25' (only AWS4-HMAC-SHA256 for now). ",
    ) == refusal(sign(*CASES[0]), "SHA256", "SHA25")
    assert (
        "IncompleteSignature",
        "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'a/b'",
    ) == refusal(
        sign(*CASES[0]),
        sign(*CASES[0]).headers["authorization"].split("=")[1],
        "a/b, SignedHeaders",
    )
    assert (
        "IncompleteSignature",
        "Date must be in ISO-8601 'basic format'. Got '201'. See http://en.wikipedia.org/wiki/ISO_8601",
    ) == refusal(sign(*CASES[0]), "", "201", "x-amz-date")
    assert (
        "AccessDenied",
        "AWS authentication requires a valid Date or x-amz-date header",
    ) == refusal(sign(*CASES[3]), "", "x", "x-amz-date")


def test_scopes_are_told_as_aws_does():
    """A key that is good for another day must not open this one."""
    sent = sign(*CASES[0])
    day = sent.headers["x-amz-date"][:8]
    stamp = sent.headers["x-amz-date"]
    assert (
        "SignatureDoesNotMatch",
        "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. "
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
        f"'19990101' != '{day}', from '{stamp}'.",
    ) == refusal(sent, f"{day}/us-east-1/sqs/aws4", "19990101/us-east-1/sqs/aws5")
    assert (
        "AuthorizationHeaderMalformed",
        'The authorization header is malformed; incorrect terminal "aws5_request". '
        'This endpoint uses "aws4_request".',
    ) == refusal(sign(*CASES[3]), "aws4_request", "aws5_request")
    code, text = refusal(sign(*CASES[3], presigned=True), f"%2F{day}%2F", "%2F19990101%2F")
    assert "AuthorizationQueryParametersError" == code
    assert "Error parsing the X-Amz-Credential parameter; Invalid credential date" in text


def test_presigned_queries_are_told_as_aws_does():
    """A cut link is the commonest fault of presigned URLs."""
    s3, coral = CASES[3], CASES[1]
    assert ("AuthorizationQueryParametersError", SEVEN) == refusal(
        sign(*s3, presigned=True), "X-Amz-Expires", "X-Amz-Expire"
    )
    assert (
        "IncompleteSignature",
        "AWS query-string parameters must include 'X-Amz-Date'. Re-examine the query-string parameters.",
    ) == refusal(sign(*coral, presigned=True), "X-Amz-Date", "X-Amz-Dat")
    for value, text in (
        ("1h", "X-Amz-Expires should be a number"),
        ("-1", "X-Amz-Expires must be non-negative"),
        ("604801", "X-Amz-Expires must be less than a week (in seconds); "
         "that is, the given X-Amz-Expires must be less than 604800 seconds"),
    ):  # fmt: skip
        sent = sign(*s3, presigned=True)
        expected = ("AuthorizationQueryParametersError", text)
        assert expected == refusal(sent, "X-Amz-Expires=60", f"X-Amz-Expires={value}")
    both = sign(*s3)
    both.query += "&X-Amz-Algorithm=AWS4-HMAC-SHA256"
    assert ("InvalidArgument",) == refusal(both, "", "")[:1]


def test_what_decides_the_meaning_must_be_signed():
    """Who catches a signed request must not be able to make another one of it."""
    sent = sign(*CASES[0])
    assert (
        "SignatureDoesNotMatch",
        "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
    ) == refusal(sent, "SignedHeaders=host;", "SignedHeaders=")
    sent = sign(*CASES[0])
    sent.headers["x-amz-target"] = "AmazonSQS.PurgeQueue"
    assert "SignatureDoesNotMatch" == code_of(sent)
    for presigned in (False, True):
        sent = sign(*CASES[3], presigned=presigned)
        sent.headers["x-amz-acl"] = "public-read"
        with pytest.raises(AwsError) as caught:
            verify(sent, secret_of, now())
        assert (
            "There were headers present in the request which were not signed"
            == caught.value.message
        )
        assert {"HeadersNotSigned": "x-amz-acl"} == caught.value.fields
    sent = sign(*CASES[3])
    sent.headers["x-spaced"] = "a c"
    assert "SignatureDoesNotMatch" == code_of(sent)


def test_body_hashes():
    """A declared hash binds the body; only S3 takes a body that is not bound."""
    sent = sign(*CASES[3])
    sent.body += b"!"
    assert "XAmzContentSHA256Mismatch" == code_of(sent)
    sent = sign(*CASES[3])
    del sent.headers["x-amz-content-sha256"]
    assert "InvalidRequest" == code_of(sent)
    sent = sign(*CASES[3])
    sent.headers["x-amz-content-sha256"] = "abc"
    assert "InvalidArgument" == code_of(sent)
    sent = sign(*CASES[0])
    sent.headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
    sent.body += b"!"
    assert "SignatureDoesNotMatch" == code_of(sent)


def test_s3_shows_what_it_has_signed():
    """A client is debugged by comparing its canonical request with this one."""
    with pytest.raises(AwsError) as caught:
        verify(sign("GET", "/b", "b=2&a=1", b"", "s3"), lambda _: "other", now())
    lines = caught.value.fields["CanonicalRequest"].split("\n")
    assert ["GET", "/b", "a=1&b=2", "host:localhost:4566"] == lines[:4]
    assert caught.value.fields["StringToSign"].startswith("AWS4-HMAC-SHA256\n")
    assert caught.value.fields["StringToSignBytes"].startswith("41 57 53 34 2d")


EXAMPLE = {
    "host": "s3.amazonaws.com",
    "x-amz-date": "20130524T000000Z",
    "x-amz-storage-class": "REDUCED_REDUNDANCY",
    "content-encoding": "aws-chunked",
    "x-amz-decoded-content-length": "66560",
}
EXAMPLE_AT = int(datetime.datetime(2013, 5, 24, tzinfo=datetime.UTC).timestamp() * 1000)
PLAIN = (
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    {"content-length": "66824"},
    "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    (
        b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ),
    b"",
)
TRAILER = (
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    {"x-amz-trailer": "x-amz-checksum-crc32c"},
    "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    (
        b"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        b"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        b"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ),
    b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
    b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n",
)


def chunked(example):
    """The chunked upload of S3's API reference: 65 KiB of `a`."""
    declared, more, seed, links, trailers = example
    headers = {**EXAMPLE, **more, "x-amz-content-sha256": declared}
    headers["authorization"] = (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders={';'.join(sorted(headers))}, Signature={seed}"
    )
    sizes = zip((65536, 1024, 0), links, strict=True)
    pieces = [
        b"%x;chunk-signature=%s\r\n%s\r\n" % (size, link, b"a" * size) for size, link in sizes
    ]
    body = b"".join(pieces)[: -2 if trailers else None] + trailers + (b"\r\n" if trailers else b"")
    return HttpRequest("PUT", "/examplebucket/chunkObject.txt", "", headers, body)


def example_secret(_):
    return "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@pytest.mark.parametrize("example", [PLAIN, TRAILER], ids=["plain", "trailer"])
def test_signed_chunks(example):
    """AWS publishes every signature of an upload in chunks, with and without a trailer."""
    sent = chunked(example)
    assert "AKIDEXAMPLE" == verify(sent, example_secret, EXAMPLE_AT).access_key
    for old, new in (
        (b"a" * 100, b"a" * 99 + b"b"),
        (b"chunk-signature=b", b"chunk-signature=c"),
        (b"sOO8", b"sOO9"),
        (b"x-amz-trailer-signature:d", b"x-amz-trailer-signature:e"),
        (b"x-amz-trailer-signature:", b"x-amz-trailer-sig:"),
    ):
        if old in sent.body:
            bent = chunked(example)
            bent.body = bent.body.replace(old, new, 1)
            assert "SignatureDoesNotMatch" == code_of(bent, EXAMPLE_AT, example_secret)
    cut = chunked(example)
    cut.body = cut.body[:60_000]
    assert "IncompleteBody" == code_of(cut, EXAMPLE_AT, example_secret)


ENCODED = st.one_of(
    st.sampled_from(["a", "b1", "~", ".", "..", "", "x-y_z", "%20", "%2F", "%25", "%C3%A9", "%FF", "+", "a:b@c", "=", "'()*!,;$"]),
)  # fmt: skip
NAMES = st.from_regex(r"[A-Za-z0-9._~%+-]{0,6}", fullmatch=True).map(
    lambda text: re.sub("%(?![0-9A-F]{2})", "%25", text)
)


@settings(max_examples=300, deadline=None)
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
    parts=st.lists(ENCODED, max_size=6),
    pairs=st.lists(st.tuples(NAMES, st.one_of(ENCODED, NAMES)), max_size=5),
    bare=st.booleans(),
    fields=st.dictionaries(
        st.from_regex(r"x-[a-z0-9-]{1,8}", fullmatch=True),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
        max_size=4,
    ),
    body=st.binary(max_size=40),
    service=st.sampled_from(["s3", "sqs", "lambda"]),
)
def test_whatever_botocore_signs_is_taken(method, parts, pairs, bare, fields, body, service):
    """Differential: odd paths, queries and header values are canonicalised as botocore does it."""
    query = "&".join(name if bare and not value else f"{name}={value}" for name, value in pairs)
    url = "http://localhost:4566/" + "/".join(parts) + (f"?{query}" if query else "")
    sent = AWSRequest(method=method, url=url, data=body, headers=dict(fields))
    (S3SigV4Auth if service == "s3" else SigV4Auth)(KEYS, service, "us-east-1").add_auth(sent)
    headers = {name.lower(): value for name, value in sent.headers.items()}
    headers.setdefault("host", "localhost:4566")
    path, _, query = sent.url.removeprefix("http://localhost:4566").partition("?")
    request = HttpRequest(method, path, query, headers, body)
    assert service == verify(request, secret_of, now()).service
    request.path += "x"
    assert "SignatureDoesNotMatch" == code_of(request)


def test_repeated_fields_are_joined():
    """A field that comes more than once is one line of the canonical request."""
    sent = AWSRequest(method="GET", url="http://localhost:4566/", data=b"", headers={"x-a": "1"})
    sent.headers["x-a"] = "2"
    SigV4Auth(KEYS, "sqs", "us-east-1").add_auth(sent)
    fields = RepeatedFields([(name.lower(), value) for name, value in sent.headers.items()])
    fields["host"] = "localhost:4566"
    assert verify(HttpRequest("GET", "/", "", fields), secret_of, now())


def test_unsigned_payload_passes_with_any_body():
    """S3 clients over TLS do not hash the body."""
    kind = S3SigV4Auth(KEYS, "s3", "us-east-1")
    kind.payload = lambda _: "UNSIGNED-PAYLOAD"
    sent = AWSRequest(method="PUT", url="http://localhost:4566/b/k", data=b"one")
    kind.add_auth(sent)
    headers = {name.lower(): value for name, value in sent.headers.items()} | {
        "host": "localhost:4566"
    }
    request = HttpRequest("PUT", "/b/k", "", headers, b"two")
    assert verify(request, secret_of, now()).service == "s3"


def test_credential_of_is_cheap_and_safe():
    """It runs on every request, also on nonsense."""
    assert credential_of(HttpRequest("GET", "/", "", {"authorization": "Credential="})) is None
    assert Credential("a/b", "d", "r", "s") == credential_of(
        HttpRequest("GET", "/", "X-Amz-Credential=a%2Fb%2Fd%2Fr%2Fs%2Faws4_request&x=1", {})
    )
