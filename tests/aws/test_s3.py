"""S3 by boto3: what a deployment tool needs of it."""

import hashlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def bucket(aws: Callable[..., Any], unique: str) -> str:
    """A bucket of the test's own."""
    name = unique.lower()
    aws("s3").create_bucket(Bucket=name)
    return name


def code(call: Callable[..., Any], **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return str(caught.value.response["Error"]["Code"])


def test_objects_come_back(aws: Callable[..., Any], bucket: str) -> None:
    """Bytes, type, metadata and the MD5 as ETag."""
    s3 = aws("s3")
    body = b"hello " * 1000
    put = s3.put_object(
        Bucket=bucket, Key="a/b c", Body=body, ContentType="text/x", Metadata={"K": "v"}
    )
    assert f'"{hashlib.md5(body).hexdigest()}"' == put["ETag"]
    found = s3.get_object(Bucket=bucket, Key="a/b c")
    assert [body, "text/x", {"k": "v"}] == [
        found["Body"].read(),
        found["ContentType"],
        found["Metadata"],
    ]
    head = s3.head_object(Bucket=bucket, Key="a/b c")
    assert [len(body), put["ETag"]] == [head["ContentLength"], head["ETag"]]


def test_ranges(aws: Callable[..., Any], bucket: str) -> None:
    """Parts of an object, its end, and beyond its end."""
    s3 = aws("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    part = s3.get_object(Bucket=bucket, Key="k", Range="bytes=2-4")
    assert [b"234", "bytes 2-4/10", 206] == [
        part["Body"].read(),
        part["ContentRange"],
        part["ResponseMetadata"]["HTTPStatusCode"],
    ]
    assert b"89" == s3.get_object(Bucket=bucket, Key="k", Range="bytes=-2")["Body"].read()
    assert "InvalidRange" == code(s3.get_object, Bucket=bucket, Key="k", Range="bytes=10-")


def test_errors_have_the_codes_of_s3(aws: Callable[..., Any], bucket: str) -> None:
    """SDKs turn these codes into exceptions that programs catch."""
    s3 = aws("s3")
    assert "NoSuchKey" == code(s3.get_object, Bucket=bucket, Key="none")
    assert "404" == code(s3.head_object, Bucket=bucket, Key="none")
    assert "NoSuchBucket" == code(s3.list_objects_v2, Bucket="no-such-bucket-here")
    assert "404" == code(s3.head_bucket, Bucket="no-such-bucket-here")
    assert "InvalidBucketName" == code(s3.create_bucket, Bucket="UPPER-CASE")
    assert "NoSuchTagSet" == code(s3.get_bucket_tagging, Bucket=bucket)
    assert "NoSuchBucketPolicy" == code(s3.get_bucket_policy, Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert "BucketNotEmpty" == code(s3.delete_bucket, Bucket=bucket)


def test_conditions(aws: Callable[..., Any], bucket: str) -> None:
    """Writes that must not overwrite, reads that must not repeat."""
    s3 = aws("s3")
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    assert "PreconditionFailed" == code(
        s3.put_object, Bucket=bucket, Key="k", Body=b"y", IfNoneMatch="*"
    )
    assert "304" == code(s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=etag)
    assert "PreconditionFailed" == code(s3.get_object, Bucket=bucket, Key="k", IfMatch='"no"')


def test_listing_folds_and_pages(aws: Callable[..., Any], bucket: str) -> None:
    """Tools walk buckets by prefix, delimiter and token."""
    s3 = aws("s3")
    for key in ("a", "d/1", "d/2", "e/1", "z"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    listed = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert ["a", "z"] == [item["Key"] for item in listed["Contents"]]
    assert ["d/", "e/"] == [item["Prefix"] for item in listed["CommonPrefixes"]]
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 1}
    )
    found = []
    for page in pages:
        found += [item["Key"] for item in page.get("Contents", [])]
        found += [item["Prefix"] for item in page.get("CommonPrefixes", [])]
    assert ["a", "d/", "e/", "z"] == found
    below = s3.list_objects(Bucket=bucket, Prefix="d/")
    assert ["d/1", "d/2"] == [item["Key"] for item in below["Contents"]]


def test_large_files_go_up_in_parts(aws: Callable[..., Any], bucket: str) -> None:
    """boto3 sends a file of more than 8 MB as a multipart upload, and a range may cross parts."""
    s3 = aws("s3")
    body = bytes(range(256)) * 4096 * 20
    s3.upload_fileobj(io.BytesIO(body), bucket, "big")
    assert s3.head_object(Bucket=bucket, Key="big")["ETag"].endswith('-3"')
    assert body == s3.get_object(Bucket=bucket, Key="big")["Body"].read()
    edge = 8 * 1024 * 1024
    part = s3.get_object(Bucket=bucket, Key="big", Range=f"bytes={edge - 3}-{edge + 2}")
    assert body[edge - 3 : edge + 3] == part["Body"].read()


def test_aborted_upload_is_forgotten(aws: Callable[..., Any], bucket: str) -> None:
    """Parts are listed until the upload ends."""
    s3 = aws("s3")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x")
    parts = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]
    assert [(1, 1)] == [(part["PartNumber"], part["Size"]) for part in parts]
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    assert "NoSuchUpload" == code(s3.list_parts, Bucket=bucket, Key="k", UploadId=upload)


def test_versions_are_kept(aws: Callable[..., Any], bucket: str) -> None:
    """Old versions stay readable, a delete covers, its removal uncovers."""
    s3 = aws("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"2")
    assert b"1" == s3.get_object(Bucket=bucket, Key="k", VersionId=first)["Body"].read()
    marker = s3.delete_object(Bucket=bucket, Key="k")
    assert marker["DeleteMarker"]
    assert "NoSuchKey" == code(s3.get_object, Bucket=bucket, Key="k")
    listed = s3.list_object_versions(Bucket=bucket)
    assert [2, 1] == [len(listed["Versions"]), len(listed["DeleteMarkers"])]
    s3.delete_object(Bucket=bucket, Key="k", VersionId=marker["VersionId"])
    assert b"2" == s3.get_object(Bucket=bucket, Key="k")["Body"].read()


def test_copy_and_delete_many(aws: Callable[..., Any], bucket: str) -> None:
    """A copy has the source's bytes and metadata; several keys go at once."""
    s3 = aws("s3")
    s3.put_object(Bucket=bucket, Key="a +", Body=b"x", Metadata={"m": "1"})
    s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a +"})
    copied = s3.get_object(Bucket=bucket, Key="b")
    assert [b"x", {"m": "1"}] == [copied["Body"].read(), copied["Metadata"]]
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a +"}, {"Key": "b"}]})
    assert {"a +", "b"} == {item["Key"] for item in gone["Deleted"]}
    s3.delete_bucket(Bucket=bucket)


def test_bucket_settings(aws: Callable[..., Any], bucket: str) -> None:
    """What sam and cdk set on their buckets is kept; what cannot be done is refused."""
    s3 = aws("s3")
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    assert [{"Key": "k", "Value": "v"}] == s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    s3.put_bucket_policy(Bucket=bucket, Policy='{"Statement": []}')
    assert '{"Statement": []}' == s3.get_bucket_policy(Bucket=bucket)["Policy"]
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert "AES256" == rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]
    assert bucket in [item["Name"] for item in s3.list_buckets()["Buckets"]]
    kms = {"Bucket": bucket, "Key": "k", "Body": b"", "ServerSideEncryption": "aws:kms"}
    assert "NotImplemented" == code(s3.put_object, **kms)
