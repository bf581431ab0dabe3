"""Uploads from HTML forms, as browsers send them."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import boto3
import pytest
from botocore.config import Config

from tests.aws.test_s3_notifications import Told
from tests.conftest import Server

Aws = Callable[..., Any]


@pytest.fixture
def told(aws: Aws, unique: str) -> Told:
    return Told(aws, unique)


def post(
    form: dict[str, Any], body: bytes, headers: dict[str, str] | None = None, **more: str
) -> tuple[int, Any, str]:
    """Send a form: status, headers, text."""
    mark = "----form"
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in {**form["fields"], **more}.items()
    ]
    head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="a b.txt"\r\n'
    parts += [head.encode(), b"Content-Type: text/x\r\n\r\n", body, f"\r\n--{mark}--\r\n".encode()]
    request = urllib.request.Request(
        form["url"],
        data=b"".join(parts),
        headers={"content-type": f"multipart/form-data; boundary={mark}", **(headers or {})},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def test_form_becomes_an_object(told: Told) -> None:
    """Fields become headers, metadata and tags; listeners hear of a Post."""
    told.ask("s3:ObjectCreated:*")
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    fields = {
        "Content-Type": "text/plain",
        "x-amz-meta-who": "me",
        "tagging": tags,
        "success_action_status": "201",
    }
    conditions = [{name: value} for name, value in fields.items()]
    form = told.s3.generate_presigned_post(
        told.bucket, "in/${filename}", Fields=fields, Conditions=conditions
    )
    status, headers, text = post(form, b"1\r\n--2\r\n")
    assert 201 == status
    assert ["in/a b.txt", told.bucket] == [
        ET.fromstring(text).findtext(name) for name in ("Key", "Bucket")
    ]
    found = told.s3.get_object(Bucket=told.bucket, Key="in/a b.txt")
    assert [b"1\r\n--2\r\n", "text/plain", {"who": "me"}, headers["etag"]] == [
        found["Body"].read(),
        found["ContentType"],
        found["Metadata"],
        found["ETag"],
    ]
    kept = told.s3.get_object_tagging(Bucket=told.bucket, Key="in/a b.txt")
    assert [{"Key": "a", "Value": "b"}] == kept["TagSet"]
    assert [("ObjectCreated:Post", "in/a+b.txt")] == told.happened()


def test_policy_is_kept(told: Told) -> None:
    """Sizes, prefixes and fields beyond those that were agreed are refused."""
    conditions = [["content-length-range", 2, 4], ["starts-with", "$x-amz-meta-a", "b"]]
    form = told.s3.generate_presigned_post(told.bucket, "k", Conditions=conditions)
    assert 204 == post(form, b"123", **{"x-amz-meta-a": "bc"})[0]
    for body, more, code in (
        (b"12345", {"x-amz-meta-a": "b"}, "EntityTooLarge"),
        (b"1", {"x-amz-meta-a": "b"}, "EntityTooSmall"),
        (b"123", {"x-amz-meta-a": "c"}, "AccessDenied"),
        (b"123", {"x-amz-meta-a": "b", "x-amz-meta-z": "1"}, "AccessDenied"),
        (b"123", {"x-amz-meta-a": "b", "key": "other"}, "AccessDenied"),
        (b"123", {"x-amz-meta-a": "b", "policy": "e30="}, "InvalidPolicyDocument"),
    ):
        assert f"<Code>{code}</Code>" in post(form, body, **more)[2]


def test_a_policy_is_about_the_whole_key(told: Told) -> None:
    """The name of the file is part of it; bounds that cannot be are no policy."""
    form = told.s3.generate_presigned_post(
        told.bucket, "${filename}", Conditions=[["starts-with", "$key", "a"]]
    )
    assert 204 == post(form, b"1")[0]
    assert b"1" == told.s3.get_object(Bucket=told.bucket, Key="a b.txt")["Body"].read()
    form = told.s3.generate_presigned_post(
        told.bucket, "${filename}", Conditions=[["starts-with", "$key", "b"]]
    )
    assert "<Code>AccessDenied</Code>" in post(form, b"1")[2]
    form = told.s3.generate_presigned_post(
        told.bucket, "k", Conditions=[["content-length-range", -1, 4]]
    )
    assert "<Code>InvalidPolicyDocument</Code>" in post(form, b"1")[2]


def test_metadata_that_is_no_ascii(told: Told) -> None:
    """It is told as RFC 2047 says; what another header field cannot tell is a space."""
    expires = "Wed, 21 Oct 2037 07:28:00 GMT"
    fields = {
        "Cache-Control": "a—é",
        "Expires": expires,
        "x-amz-meta-who": "Ä—b",
        "x-amz-meta-q": "=?UTF-8?Q?a?=",
    }
    form = told.s3.generate_presigned_post(
        told.bucket, "k", Fields=fields, Conditions=[{name: fields[name]} for name in fields]
    )
    assert 204 == post(form, b"1")[0]
    found = told.s3.head_object(Bucket=told.bucket, Key="k")
    assert {"who": "=?UTF-8?Q?=C3=84=E2=80=94b?=", "q": "=?UTF-8?Q?a?="} == found["Metadata"]
    assert "a é" == found["CacheControl"]
    assert expires == found["ResponseMetadata"]["HTTPHeaders"]["expires"]
    told.s3.put_object(Bucket=told.bucket, Key="put", Expires=expires)
    assert found["Expires"] == told.s3.head_object(Bucket=told.bucket, Key="put")["Expires"]


def test_policy_is_signed(launch: Callable[..., Server], tmp_path: Path) -> None:
    """With signatures on, whoever changes the policy or has no key is refused; either version of signing counts."""
    server = launch(tmp_path, "--auth", "sigv4")
    found = re.search(
        r"AWS_ACCESS_KEY_ID=(\S+) AWS_SECRET_ACCESS_KEY=(\S+)", server.log.read_text()
    )
    assert found is not None
    for number, version in enumerate(("s3v4", "s3")):
        s3 = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            region_name="us-east-1",
            aws_access_key_id=found[1],
            aws_secret_access_key=found[2],
            config=Config(signature_version=version, s3={"addressing_style": "path"}),
        )
        if not number:
            s3.create_bucket(Bucket="bucket")
        form = s3.generate_presigned_post("bucket", "k")
        assert 204 == post(form, b"1")[0]
        signature = "x-amz-signature" if version == "s3v4" else "signature"
        bent = json.loads(json.dumps(form))
        bent["fields"][signature] = "0" + bent["fields"][signature][1:-1] + "0"
        assert "SignatureDoesNotMatch" in post(bent, b"1")[2]
        del bent["fields"][signature]
        assert "<Code>InvalidArgument</Code>" in post(bent, b"1")[2]
    assert 403 == post({"url": form["url"], "fields": {"key": "k"}}, b"1")[0]
