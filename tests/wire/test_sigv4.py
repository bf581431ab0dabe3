"""Signatures made by botocore, checked by us."""

import datetime

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from penstock.api import HttpRequest
from penstock.core.errors import AwsError
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
    assert code_of(HttpRequest("GET", "/", "", {})) == "MissingAuthenticationToken"
    assert code_of(sent, secrets=lambda _: None) == "UnrecognizedClientException"
    assert code_of(sent, secrets=lambda _: "other") == "SignatureDoesNotMatch"
    assert code_of(sent, now() + 16 * 60_000) == "RequestTimeTooSkewed"
    assert code_of(sent, now() - 16 * 60_000) == "RequestTimeTooSkewed"
    assert code_of(sign(*CASES[1], presigned=True), now() + 61_000) == "RequestExpired"
    sent.headers["authorization"] = "AWS4-HMAC-SHA256 Credential=a/b"
    assert code_of(sent) == "IncompleteSignature"
    sent.headers["authorization"] = "Basic abc"
    assert code_of(sent) == "IncompleteSignature"


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
