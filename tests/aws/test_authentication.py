"""`--auth sigv4`: who may, and who may not."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.conftest import Server, make_client


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Penstock that verifies signatures."""
    server = Server(str(tmp_path_factory.mktemp("guarded")), "--auth", "sigv4")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def root(guarded: Server) -> dict[str, str]:
    """The root key pair that `up` prints."""
    found = re.search(
        r"AWS_ACCESS_KEY_ID=(\S+) AWS_SECRET_ACCESS_KEY=(\S+)", guarded.log.read_text()
    )
    assert found is not None
    return {"aws_access_key_id": found[1], "aws_secret_access_key": found[2]}


def code_of(client: Any, operation: str, **parameters: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(**parameters)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_root_key_is_accepted(guarded: Server, root: dict[str, str]) -> None:
    """The printed pair works, and says who it is."""
    identity = make_client(guarded.endpoint, "sts", **root).get_caller_identity()

    assert "arn:aws:iam::000000000000:root" == identity["Arn"]


def test_unknown_key(guarded: Server) -> None:
    """A key that was never issued is not taken for anybody."""
    stranger = {"aws_access_key_id": "AKIAAAAAAAAAAAAAAAAA", "aws_secret_access_key": "x"}

    assert ("UnrecognizedClientException", 400) == code_of(
        make_client(guarded.endpoint, "sqs", **stranger), "list_queues"
    )
    assert ("InvalidClientTokenId", 403) == code_of(
        make_client(guarded.endpoint, "sts", **stranger), "get_caller_identity"
    )


def test_wrong_secret(guarded: Server, root: dict[str, str]) -> None:
    """Knowing the key's id is not enough."""
    wrong = {**root, "aws_secret_access_key": "wrong"}
    code, _ = code_of(make_client(guarded.endpoint, "sqs", **wrong), "list_queues")

    assert code in ("InvalidSignatureException", "SignatureDoesNotMatch")


def test_unsigned_is_refused_except_health(guarded: Server) -> None:
    """A load balancer may ask for health; nobody may reset without a signature."""
    with urllib.request.urlopen(f"{guarded.endpoint}/_penstock/health") as answer:
        assert 200 == answer.status
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(
            urllib.request.Request(f"{guarded.endpoint}/_penstock/reset", method="POST")
        )
    assert 403 == caught.value.code


@pytest.mark.parametrize(
    ("method", "path", "host", "answer"),
    [
        ("GET", "/bucket/key", None, "<Code>AccessDenied</Code><Message>Access Denied</Message>"),
        ("GET", "/bucket?list-type=2", None, "<Code>AccessDenied</Code>"),
        ("PUT", "/bucket/a/b", None, "<Code>AccessDenied</Code>"),
        ("DELETE", "/", "bucket.localhost", "<Code>AccessDenied</Code>"),
        ("GET", "/2015-03-31/functions", None, "is missing Authentication Token"),
        ("GET", "/restapis", None, "is missing Authentication Token"),
        ("POST", "/", None, "is missing Authentication Token"),
    ],
)
def test_unsigned_requests_are_told_in_the_words_of_their_service(
    guarded: Server, method: str, path: str, host: str | None, answer: str
) -> None:
    """A browser that opens an object's address is told by S3 that it may not, in S3's XML; others speak JSON."""
    request = urllib.request.Request(f"{guarded.endpoint}{path}", method=method)
    if host is not None:
        request.add_header("Host", host)

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)

    assert 403 == caught.value.code
    told = caught.value.read().decode()
    assert answer in told
    xml = "AccessDenied" in answer
    assert ("application/xml" if xml else "application/json") == caught.value.headers[
        "Content-Type"
    ]


def test_issued_key_and_session(guarded: Server, root: dict[str, str]) -> None:
    """A user's key and a role's session are who they are; a session needs its token."""
    iam = make_client(guarded.endpoint, "iam", **root)
    iam.create_user(UserName="ann")
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    ann = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    assert (
        make_client(guarded.endpoint, "sts", **ann)
        .get_caller_identity()["Arn"]
        .endswith("user/ann")
    )

    role = iam.create_role(
        RoleName="r", AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[]}'
    )
    session = make_client(guarded.endpoint, "sts", **ann).assume_role(
        RoleArn=role["Role"]["Arn"], RoleSessionName="ss"
    )["Credentials"]
    pair = {
        "aws_access_key_id": session["AccessKeyId"],
        "aws_secret_access_key": session["SecretAccessKey"],
    }
    whole = {**pair, "aws_session_token": session["SessionToken"]}
    identity = make_client(guarded.endpoint, "sts", **whole).get_caller_identity()
    assert "arn:aws:sts::000000000000:assumed-role/r/ss" == identity["Arn"]
    assert (
        "UnrecognizedClientException"
        == code_of(make_client(guarded.endpoint, "sqs", **pair), "list_queues")[0]
    )
    iam.delete_access_key(UserName="ann", AccessKeyId=key["AccessKeyId"])
    assert (
        "InvalidClientTokenId"
        == code_of(make_client(guarded.endpoint, "sts", **ann), "get_caller_identity")[0]
    )


def test_presigned_url(guarded: Server, root: dict[str, str]) -> None:
    """A presigned URL opens one object, for whoever has it."""
    config = Config(signature_version="s3v4")
    s3 = boto3.client(
        "s3", endpoint_url=guarded.endpoint, region_name="us-east-1", config=config, **root
    )
    s3.create_bucket(Bucket="signed")
    s3.put_object(Bucket="signed", Key="a b", Body=b"content")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "signed", "Key": "a b"})

    with urllib.request.urlopen(url) as answer:
        assert b"content" == answer.read()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url.replace("signed/a", "signed/b"))
    assert 403 == caught.value.code


def test_off_is_for_loopback_only(tmp_path: Path) -> None:
    """Nobody gets open access to the network by accident."""
    with pytest.raises(RuntimeError, match="--auth off is allowed on loopback only"):
        Server(str(tmp_path), "--host", "0.0.0.0")


def opened(url: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    """Status and text of whatever is at a URL."""
    parts = urlsplit(url)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    # Names under `localhost` need not resolve.
    url = parts._replace(netloc=f"127.0.0.1:{parts.port}").geturl()
    sent["Host"] = parts.netloc
    request = urllib.request.Request(url, method=method, headers=sent)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("addressing", ["path", "virtual"])
def test_presigned_url_of_the_version_before(
    guarded: Server, root: dict[str, str], addressing: str
) -> None:
    """Subresources, fields and keys that need encoding are signed; a change of any is seen."""
    config = Config(signature_version="s3", s3={"addressing_style": addressing})
    options: Any = {"region_name": "us-east-1", "config": config, **root}
    endpoint = guarded.endpoint.replace("127.0.0.1", "localhost")
    s3 = boto3.client("s3", endpoint_url=endpoint, **options)
    name = {"Bucket": f"before-{addressing}", "Key": "a b/é+"}
    make_client(guarded.endpoint, "s3", **root).create_bucket(Bucket=name["Bucket"])
    put = s3.generate_presigned_url(
        "put_object", {**name, "ContentType": "text/x", "Metadata": {"who": "me"}}
    )
    assert 403 == opened(put, "PUT", Content_Type="text/y")[0]
    assert 200 == opened(put, "PUT", Content_Type="text/x")[0]
    head = make_client(guarded.endpoint, "s3", **root).head_object(**name)
    assert ({"who": "me"}, "text/x") == (head["Metadata"], head["ContentType"])
    get = s3.generate_presigned_url("get_object", {**name, "ResponseContentType": "text/z; q=1"})
    assert (200, "") == opened(get)
    status, text = opened(get.replace("text%2Fz", "text%2Fa"))
    assert (403, True) == (status, "<Code>SignatureDoesNotMatch</Code>" in text)
    status, text = opened(get.replace("&Signature=", "&Sig="))
    assert (403, True) == (status, "requires the Signature, Expires and AWSAccessKeyId" in text)
    late = s3.generate_presigned_url("get_object", name, ExpiresIn=-5)
    status, text = opened(late)
    assert (403, True) == (status, "<Message>Request has expired</Message><Expires>" in text)


def test_fields_in_the_query_of_a_presigned_url(guarded: Server, root: dict[str, str]) -> None:
    """Conditions and metadata may be in the signed query instead of the header."""
    s3 = make_client(guarded.endpoint, "s3", **root)
    s3.create_bucket(Bucket="hoisted")
    request = AWSRequest(
        method="PUT",
        url=f"{guarded.endpoint}/hoisted/k",
        params={"If-None-Match": "*", "x-amz-meta-who": "me"},
    )
    credentials = Credentials(root["aws_access_key_id"], root["aws_secret_access_key"])
    S3SigV4QueryAuth(credentials, "s3", "us-east-1", expires=60).add_auth(request)
    assert 200 == opened(request.url, "PUT")[0]
    assert {"who": "me"} == s3.head_object(Bucket="hoisted", Key="k")["Metadata"]
    assert 412 == opened(request.url, "PUT")[0]
