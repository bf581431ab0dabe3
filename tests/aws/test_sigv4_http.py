"""Signed requests over HTTP: what each protocol's client is told, and which keys open the door."""

import gzip
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.conftest import Server, make_client


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Penstock that verifies signatures."""
    server = Server(str(tmp_path_factory.mktemp("signed")), "--auth", "sigv4")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def root(guarded: Server) -> Credentials:
    """The pair that `up` prints."""
    found = re.search(
        r"AWS_ACCESS_KEY_ID=(\S+) AWS_SECRET_ACCESS_KEY=(\S+)", guarded.log.read_text()
    )
    assert found is not None
    return Credentials(found[1], found[2])


@pytest.fixture(scope="module")
def client(guarded: Server, root: Credentials) -> Callable[[str], Any]:
    """boto3 as root."""
    pair = {"aws_access_key_id": root.access_key, "aws_secret_access_key": root.secret_key}
    return lambda service: make_client(guarded.endpoint, service, **pair)


JSON = {"content-type": "application/x-amz-json-1.0"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
REQUESTS: dict[str, tuple[str, str, dict[str, str], bytes]] = {
    "dynamodb": ("POST", "/", {**JSON, "x-amz-target": "DynamoDB_20120810.ListTables"}, b"{}"),
    "sqs": ("POST", "/", {**JSON, "x-amz-target": "AmazonSQS.ListQueues"}, b"{}"),
    "lambda": ("GET", "/2015-03-31/functions", {}, b""),
    "iam": ("POST", "/", FORM, b"Action=ListUsers&Version=2010-05-08"),
    "s3": ("GET", "/", {}, b""),
}


def send(
    server: Server, service: str, keys: Credentials | None, scope: str = "", **changes: Any
) -> tuple[int, str, str]:
    """(status, code, message) of a service's simplest request; `changes` are made after signing."""
    method, path, headers, body = REQUESTS[service]
    sent = AWSRequest(method=method, url=server.endpoint + path, data=body, headers=headers)
    if keys is not None:
        kind = S3SigV4Auth if service == "s3" else SigV4Auth
        kind(keys, scope or service, "us-east-1").add_auth(sent)
    fields = {**dict(sent.headers.items()), **changes.get("headers", {})}
    request = urllib.request.Request(
        sent.url + changes.get("query", ""),
        changes.get("body", body) or None,
        fields,
        method=method,
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, "", ""
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        if text.startswith("{"):
            document = json.loads(text)
            kind = document.get("__type") or error.headers["x-amzn-ErrorType"]
            return error.code, kind.rpartition("#")[2], document["message"]
        code = re.search("<Code>(.*?)</Code>", text)
        message = re.search("<Message>(.*?)</Message>", text)
        assert code is not None
        assert message is not None
        return error.code, code[1], message[1]


INVALID = "The security token included in the request is invalid."
NO_SUCH_KEY = "The AWS Access Key Id you provided does not exist in our records."
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
S3_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your key and signing method."
)


@pytest.mark.parametrize(
    ("service", "unknown", "wrong"),
    [
        ("dynamodb", (400, "UnrecognizedClientException", INVALID), (400, "InvalidSignatureException", MISMATCH)),
        ("sqs", (400, "UnrecognizedClientException", INVALID), (403, "InvalidSignatureException", MISMATCH)),
        ("lambda", (403, "UnrecognizedClientException", INVALID), (403, "InvalidSignatureException", MISMATCH)),
        ("iam", (403, "InvalidClientTokenId", INVALID), (403, "SignatureDoesNotMatch", MISMATCH)),
        ("s3", (403, "InvalidAccessKeyId", NO_SUCH_KEY), (403, "SignatureDoesNotMatch", S3_MISMATCH)),
    ],
)  # fmt: skip
def test_each_protocol_has_its_own_codes(
    guarded: Server,
    root: Credentials,
    service: str,
    unknown: tuple[int, str, str],
    wrong: tuple[int, str, str],
) -> None:
    """SDKs decide by status and code whether to refresh credentials, to retry or to give up."""
    assert (200, "", "") == send(guarded, service, root)
    assert unknown == send(guarded, service, Credentials("AKIAAAAAAAAAAAAAAAAA", "secret"))
    assert wrong == send(guarded, service, Credentials(root.access_key, "wrong"))
    assert wrong == send(guarded, service, root, query="?x=1")
    tokened = Credentials(root.access_key, root.secret_key, "token")
    invalid_token = (
        (400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
        if service == "s3"
        else unknown
    )
    assert invalid_token == send(guarded, service, tokened)


def test_unsigned_requests(guarded: Server) -> None:
    """Nobody gets in without a signature."""
    missing = "Request is missing Authentication Token"
    assert (403, "MissingAuthenticationTokenException", missing) == send(guarded, "sqs", None)
    assert (403, "MissingAuthenticationToken", missing) == send(guarded, "iam", None)


def test_key_of_another_service(guarded: Server, root: Credentials) -> None:
    """A signature that was made for one service does not open another."""
    expected = (
        "InvalidSignatureException",
        "Credential should be scoped to correct service: 'sqs'.",
    )
    assert expected == send(guarded, "sqs", root, scope="dynamodb")[1:]


def test_changed_after_signing(guarded: Server, root: Credentials) -> None:
    """What a proxy or a thief changes on the way is noticed."""
    changed = send(guarded, "sqs", root, body=b'{"QueueNamePrefix":"x"}')
    assert "InvalidSignatureException" == changed[1]
    changed = send(guarded, "s3", root, headers={"x-amz-acl": "public-read"})
    assert (403, "AccessDenied") == changed[:2]


def test_compressed_and_signed(guarded: Server, root: Credentials) -> None:
    """The signature covers the bytes on the way, the operation sees what was compressed."""
    url = guarded.endpoint
    bodies = {
        "sqs": (b'{"QueueName":"compressed"}', {**JSON, "x-amz-target": "AmazonSQS.CreateQueue"}),
        "iam": (b"Action=ListUsers&Version=2010-05-08", FORM),
    }
    for service, (body, headers) in bodies.items():
        packed = {**headers, "content-encoding": "gzip"}
        sent = AWSRequest(method="POST", url=url, data=gzip.compress(body), headers=packed)
        SigV4Auth(root, service, "us-east-1").add_auth(sent)
        request = urllib.request.Request(url, sent.data, dict(sent.headers.items()))
        with urllib.request.urlopen(request) as answer:
            assert 200 == answer.status


def test_inactive_and_deleted_keys(guarded: Server, client: Callable[[str], Any]) -> None:
    """A key that was switched off stops to work, works again when it is switched on, and never after its end."""
    iam = client("iam")
    iam.create_user(UserName="bob")
    key = iam.create_access_key(UserName="bob")["AccessKey"]
    bob = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    about = {"UserName": "bob", "AccessKeyId": bob.access_key}
    refused = (400, "UnrecognizedClientException", INVALID)

    assert 200 == send(guarded, "sqs", bob)[0]
    iam.update_access_key(**about, Status="Inactive")
    assert refused == send(guarded, "sqs", bob)
    listed = iam.list_access_keys(UserName="bob")["AccessKeyMetadata"]
    assert ["Inactive"] == [each["Status"] for each in listed]
    iam.update_access_key(**about, Status="Active")
    assert 200 == send(guarded, "sqs", bob)[0]
    iam.delete_access_key(**about)
    assert refused == send(guarded, "sqs", bob)
    with pytest.raises(ClientError, match="cannot be found"):
        iam.update_access_key(**about, Status="Active")


def test_root_key_is_printed_once_and_kept(tmp_path: Path) -> None:
    """The pair is for the operator to copy: one line at each start, the same one every time."""
    lines = []
    server = Server(str(tmp_path), "--auth", "sigv4")
    server.stop()
    lines += re.findall("AWS_ACCESS_KEY_ID=.*", server.log.read_text())
    assert 1 == len(lines)
    server.start()
    server.stop()
    lines = re.findall("AWS_ACCESS_KEY_ID=.*", server.log.read_text())
    assert [lines[0]] * 2 == lines
