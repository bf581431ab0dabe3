"""Rules that end objects: nightly, on the system's own clock."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.test_s3_notifications import Told
from tests.conftest import Server

Aws = Callable[..., Any]
DAY = 86_400


@pytest.fixture(scope="module")
def frozen(
    launch: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A Penstock whose time stands still until a test moves it."""
    server = launch(tmp_path_factory.mktemp("lifecycle"))
    server.steer("clock", {"freeze": True})
    yield server


@pytest.fixture
def told(frozen: Server, connect: Aws, unique: str) -> Told:
    return Told(lambda service: connect(frozen.endpoint, service), unique)


def rules(told: Told, *given: dict[str, Any]) -> None:
    told.s3.put_bucket_lifecycle_configuration(
        Bucket=told.bucket,
        LifecycleConfiguration={"Rules": [{"Status": "Enabled", **rule} for rule in given]},
    )


def keys(told: Told) -> list[str]:
    found = told.s3.list_objects_v2(Bucket=told.bucket)
    return [one["Key"] for one in found.get("Contents", [])]


def put(told: Told, key: str, **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = told.s3.put_object(Bucket=told.bucket, Key=key, **more)
    return answer


def test_rules_that_are_gone_end_nothing(told: Told, frozen: Server) -> None:
    """Deleted rules, and those that others replaced, are over; so are those of a process that ended."""
    rules(told, {"ID": "all", "Filter": {}, "Expiration": {"Days": 1}})
    put(told, "k")
    rules(told, {"ID": "none", "Filter": {"Prefix": "x"}, "Expiration": {"Days": 1}})
    frozen.steer("clock", {"advance": 2 * DAY})
    assert ["k"] == keys(told)
    told.s3.delete_bucket_lifecycle(Bucket=told.bucket)
    with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
        told.s3.get_bucket_lifecycle_configuration(Bucket=told.bucket)
    rules(told, {"ID": "all", "Filter": {}, "Expiration": {"Days": 1}})
    frozen.kill()
    frozen.start()
    frozen.steer("clock", {"freeze": True})
    frozen.steer("clock", {"advance": 5 * DAY})
    assert [] == keys(told)


def test_objects_expire_at_midnight(told: Told, frozen: Server) -> None:
    """What a rule takes goes at the midnight after its days are over, and listeners are told why."""
    rules(
        told,
        {"ID": "logs", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 2}},
        {
            "ID": "tagged",
            "Filter": {"And": {"Tags": [{"Key": "a", "Value": "1"}], "ObjectSizeGreaterThan": 2}},
            "Expiration": {"Days": 1},
        },
    )
    told.ask("s3:LifecycleExpiration:*", "s3:ObjectRemoved:*")
    first = put(told, "logs/1")
    assert 'rule-id="logs"' in first["Expiration"]
    assert "00:00:00 GMT" in told.s3.head_object(Bucket=told.bucket, Key="logs/1")["Expiration"]
    assert "Expiration" not in put(told, "other")
    put(told, "tagged", Body=b"123", Tagging="a=1")
    put(told, "small", Body=b"1", Tagging="a=1")
    put(told, "differently", Body=b"123", Tagging="a=2")
    frozen.steer("clock", {"advance": DAY})
    assert "tagged" in keys(told)
    frozen.steer("clock", {"advance": DAY})
    assert ["differently", "logs/1", "other", "small"] == keys(told)
    frozen.steer("clock", {"advance": DAY})
    assert ["differently", "other", "small"] == keys(told)
    assert {
        ("LifecycleExpiration:Delete", "tagged"),
        ("LifecycleExpiration:Delete", "logs/1"),
    } == set(told.happened())


def test_versions_and_markers_expire(told: Told, frozen: Server) -> None:
    """An expired version is covered, the covered one ends later, and so does the marker that covers nothing."""
    told.s3.put_bucket_versioning(Bucket=told.bucket, VersioningConfiguration={"Status": "Enabled"})
    rules(
        told,
        {"ID": "end", "Filter": {}, "Expiration": {"Days": 1}},
        {"ID": "old", "Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}},
        {"ID": "marker", "Filter": {}, "Expiration": {"ExpiredObjectDeleteMarker": True}},
    )
    put(told, "k")

    def versions() -> tuple[int, int]:
        found = told.s3.list_object_versions(Bucket=told.bucket)
        return len(found.get("Versions", [])), len(found.get("DeleteMarkers", []))

    seen = [versions()]
    for _ in range(5):
        frozen.steer("clock", {"advance": DAY})
        if versions() != seen[-1]:
            seen.append(versions())
    assert [(1, 0), (1, 1), (0, 1), (0, 0)] == seen


def test_uploads_that_are_never_completed(told: Told, frozen: Server) -> None:
    """An upload that was begun and left is forgotten after its days."""
    rules(
        told,
        {
            "ID": "uploads",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        },
    )
    name = {"Bucket": told.bucket, "Key": "k"}
    upload = told.s3.create_multipart_upload(**name)["UploadId"]
    frozen.steer("clock", {"advance": 3 * DAY})
    with pytest.raises(ClientError, match="NoSuchUpload"):
        told.s3.upload_part(**name, UploadId=upload, PartNumber=1, Body=b"")


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"ID": "a", "Expiration": {"Days": 1}}, "MalformedXML"),
        ({"ID": "a", "Filter": {}}, "MalformedXML"),
        ({"ID": "a", "Filter": {}, "Expiration": {"Days": 0}}, "InvalidArgument"),
        (
            {
                "ID": "a",
                "Filter": {"And": {"Tags": [{"Key": "k", "Value": v} for v in "12"]}},
                "Expiration": {"Days": 1},
            },
            "Duplicate Tag Keys",
        ),
        ({"ID": "a" * 256, "Filter": {}, "Expiration": {"Days": 1}}, "limit of 255"),
        (
            {"ID": "a", "Filter": {}, "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]},
            "NotImplemented",
        ),
    ],
)
def test_rules_that_cannot_be(told: Told, rule: dict[str, Any], code: str) -> None:
    """A rule that would do nothing, or that is not built, is refused when it is set."""
    with pytest.raises(ClientError, match=code):
        rules(told, rule)
