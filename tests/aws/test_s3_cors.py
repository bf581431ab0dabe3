"""What browsers of other origins are told: preflights, and header fields on answers."""

import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from botocore.exceptions import ClientError

from tests.aws.test_s3_forms import post

Aws = Callable[..., Any]
Asked = tuple[int, dict[str, str], str]

PAGE = "https://page.example"
VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


class Site:
    """A bucket with an object, and a page elsewhere that asks for it."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self.s3, self.bucket = s3, bucket
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="k", Body=b"text")

    def allow(self, *rules: dict[str, Any]) -> None:
        self.s3.put_bucket_cors(Bucket=self.bucket, CORSConfiguration={"CORSRules": list(rules)})

    def ask(self, method: str, key: str = "k", **fields: str) -> Asked:
        """Status, the fields that are about origins by lower-case name, and text."""
        url = self.s3.generate_presigned_url(
            "get_object", {"Bucket": self.bucket, "Key": key}
        ).partition("?")[0]
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        request = urllib.request.Request(url, method=method, headers=headers)
        try:
            answer = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            told = {
                name.lower(): value
                for name, value in answer.headers.items()
                if name.lower().startswith("access-control-") or name.lower() == "vary"
            }
            return answer.status, told, answer.read().decode()


@pytest.fixture
def site(aws: Aws, unique: str) -> Site:
    return Site(aws("s3"), unique)


def refusal(text: str) -> dict[str, str | None]:
    names = ("Code", "Message", "Method", "ResourceType")
    root = ET.fromstring(text)
    return {name: root.findtext(name) for name in names if root.find(name) is not None}


def code(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, str]:
    told = error.value.response["Error"]
    return told["Code"], told["Message"]


def test_rules_come_and_go(site: Site) -> None:
    """They are told as they were set, and are missing by name when there are none."""
    name = {"Bucket": site.bucket}
    site.s3.delete_bucket_cors(**name)
    with pytest.raises(ClientError) as missing:
        site.s3.get_bucket_cors(**name)
    assert ("NoSuchCORSConfiguration", "The CORS configuration does not exist") == code(missing)
    rule = {
        "ID": "one",
        "AllowedOrigins": [""],
        "AllowedMethods": ["GET", "PUT"],
        "AllowedHeaders": ["x-AMZ-*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 60,
    }
    site.allow(rule)
    assert [rule] == site.s3.get_bucket_cors(**name)["CORSRules"]
    site.s3.delete_bucket_cors(**name)
    with pytest.raises(ClientError):
        site.s3.get_bucket_cors(**name)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"AllowedMethods": ["GET", "WALK"]},
            "Found unsupported HTTP method in CORS config. Unsupported method is WALK",
        ),
        (
            {"AllowedOrigins": ["http://*.*"]},
            'AllowedOrigin "http://*.*" can not have more than one wildcard.',
        ),
        (
            {"AllowedHeaders": ["*-*"]},
            'AllowedHeader "*-*" can not have more than one wildcard.',
        ),
        (
            {"ExposeHeaders": ["*"]},
            'ExposeHeader "*" contains wildcard. We currently do not support wildcard for ExposeHeader.',
        ),
    ],
)
def test_rules_that_cannot_be(site: Site, change: dict[str, Any], told: str) -> None:
    """Each is refused with AWS's reason."""
    with pytest.raises(ClientError) as refused:
        site.allow({"AllowedOrigins": ["*"], "AllowedMethods": ["GET"], **change})
    assert ("InvalidRequest", told) == code(refused)


def test_too_few_and_too_many_rules(site: Site) -> None:
    """A configuration has one to a hundred."""
    with pytest.raises(ClientError) as none:
        site.allow()
    with pytest.raises(ClientError) as many:
        site.allow(*[{"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]}] * 101)
    assert ("MalformedXML", "InvalidRequest") == (code(none)[0], code(many)[0])


def test_preflights_without_rules(site: Site) -> None:
    """They say why not; the request itself is answered, only unmarked."""
    status, told, text = site.ask("OPTIONS")
    assert (400, {}) == (status, told)
    assert {
        "Code": "BadRequest",
        "Message": "Insufficient information. Origin request header needed.",
    } == refusal(text)
    status, told, text = site.ask("OPTIONS", Origin=PAGE)
    assert (403, {}) == (status, told)
    assert {
        "Code": "AccessForbidden",
        "Message": "CORSResponse: CORS is not enabled for this bucket.",
        "Method": "OPTIONS",
        "ResourceType": "BUCKET",
    } == refusal(text)
    assert (200, {}, "text") == site.ask("GET", Origin=PAGE)


def test_the_first_rule_that_fits_answers(site: Site) -> None:
    """By origin, method and header fields together; later rules add nothing to it."""
    site.allow(
        {"AllowedOrigins": ["http://*.example"], "AllowedMethods": ["GET"]},
        {
            "AllowedOrigins": [PAGE],
            "AllowedMethods": ["GET", "PUT"],
            "AllowedHeaders": ["x-amz-*", "Content-Type"],
            "ExposeHeaders": ["ETag", "x-amz-id-2"],
            "MaxAgeSeconds": 3000,
        },
        {"AllowedOrigins": ["*"], "AllowedMethods": ["DELETE"]},
    )
    granted = {
        "access-control-allow-origin": PAGE,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET, PUT",
        "access-control-expose-headers": "ETag, x-amz-id-2",
        "access-control-max-age": "3000",
        "vary": VARY,
    }
    asked = {"Origin": PAGE, "Access_Control_Request_Method": "PUT"}
    headers = {"Access_Control_Request_Headers": "X-Amz-Acl,content-type"}
    assert (200, granted, "") == site.ask("OPTIONS", **asked)
    named = {**granted, "access-control-allow-headers": "x-amz-acl, content-type"}
    assert (200, named, "") == site.ask("OPTIONS", **asked, **headers)
    assert (200, granted, "text") == site.ask("GET", Origin=PAGE)
    assert (404, granted) == site.ask("GET", "nothing", Origin=PAGE)[:2]
    _, told, _ = site.ask("GET", Origin="http://a.b.example")
    assert "http://a.b.example" == told["access-control-allow-origin"]
    _, told, _ = site.ask("OPTIONS", Origin=PAGE, Access_Control_Request_Method="DELETE")
    assert {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "DELETE",
        "vary": VARY,
    } == told


@pytest.mark.parametrize(
    "fields",
    [
        {"Origin": "https://other.example", "Access_Control_Request_Method": "GET"},
        {"Origin": f"{PAGE}/", "Access_Control_Request_Method": "GET"},
        {"Origin": PAGE, "Access_Control_Request_Method": "POST"},
        {
            "Origin": PAGE,
            "Access_Control_Request_Method": "GET",
            "Access_Control_Request_Headers": "x-amz-acl, other",
        },
    ],
)
def test_what_no_rule_fits_is_told_nothing(site: Site, fields: dict[str, str]) -> None:
    """The page may not read the answer, so nothing in it allows that."""
    site.allow(
        {"AllowedOrigins": [PAGE], "AllowedMethods": ["GET"], "AllowedHeaders": ["x-amz-acl"]}
    )
    status, told, text = site.ask("OPTIONS", **fields)
    assert (403, {}, "AccessForbidden", "OBJECT") == (
        status,
        told,
        refusal(text)["Code"],
        refusal(text)["ResourceType"],
    )
    assert (200, {}, "text") == site.ask("GET", **fields)


def test_forms_are_answered_to_pages(site: Site) -> None:
    """A page that sends a form reads the answer if a rule lets it."""
    site.allow({"AllowedOrigins": ["*"], "AllowedMethods": ["POST"]})
    form = site.s3.generate_presigned_post(site.bucket, "f")
    _, headers, _ = post(form, b"text", {"Origin": PAGE})
    assert "*" == headers["Access-Control-Allow-Origin"]


def test_preflight_of_no_bucket(site: Site) -> None:
    """A host of S3 says so; a path that begins with no bucket is not for S3."""
    site.s3.delete_object(Bucket=site.bucket, Key="k")
    site.s3.delete_bucket(Bucket=site.bucket)
    asked = {"Origin": PAGE, "Access_Control_Request_Method": "GET"}
    hosted = {**asked, "Host": f"{site.bucket}.s3.us-east-1.amazonaws.com"}

    status, _, text = site.ask("OPTIONS", **hosted)
    assert 403 == status
    assert "CORSResponse: Bucket not found" == refusal(text)["Message"]

    _, told, text = site.ask("OPTIONS", **asked)
    assert {} == told
    assert "CORSResponse" not in text


def test_large_bodies_of_pages_on_connections_that_close(site: Site) -> None:
    """The last request of a connection may have a body that is handed on while it comes in."""
    site.allow({"AllowedOrigins": ["*"], "AllowedMethods": ["PUT"]})
    body = bytes(3_000_000)
    url = site.s3.generate_presigned_url("put_object", {"Bucket": site.bucket, "Key": "large"})
    headers = {"Origin": PAGE, "Content-Type": "", "Connection": "close"}
    request = urllib.request.Request(url, body, headers, method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert "*" == answer.headers["Access-Control-Allow-Origin"]
    head = site.s3.head_object(Bucket=site.bucket, Key="large")
    assert len(body) == head["ContentLength"]
