"""S3 by boto3: what a deployment tool needs of it."""

import asyncio
import base64
import hashlib
import io
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from botocore.exceptions import ClientError

from penstock.api import Context
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.storage.primitives import Store
from penstock.storage.sqlite import SqliteStore
from tests.aws.direct import s3_over


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
    with pytest.raises(ClientError) as same:
        s3.get_object(Bucket=bucket, Key="k", IfNoneMatch=etag)
    told = same.value.response["ResponseMetadata"]
    modified = s3.head_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPHeaders"]
    assert (304, etag) == (told["HTTPStatusCode"], told["HTTPHeaders"]["etag"])
    assert modified["last-modified"] == told["HTTPHeaders"]["last-modified"]
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


class Direct:
    """The operations without HTTP, on a store of the test's own."""

    def __init__(self, store: Store) -> None:
        self.operations = s3_over(store, Ids()).operations
        self.context = Context(
            account="000000000000", region="us-east-1", now=1_700_000_000_000, request_id="r"
        )

    async def call(self, operation: str, **request: Any) -> dict[str, Any]:
        return await self.operations[operation](self.context, request) or {}


def directly(scenario: Callable[[Direct], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        store = await SqliteStore.open(":memory:")
        try:
            direct = Direct(store)
            await direct.call("CreateBucket", Bucket="bucket")
            await scenario(direct)
        finally:
            await store.close()

    asyncio.run(run())


def test_bucket_goes_while_bytes_are_written() -> None:
    """An object must not be acknowledged into a bucket that is no more."""

    async def scenario(s3: Direct) -> None:
        put, _ = await asyncio.gather(
            s3.call("PutObject", Bucket="bucket", Key="k", Body=b"x" * 100_000),
            s3.call("DeleteBucket", Bucket="bucket"),
            return_exceptions=True,
        )
        assert isinstance(put, AwsError)
        assert "NoSuchBucket" == put.code
        await s3.call("CreateBucket", Bucket="bucket")
        assert [] == (await s3.call("ListObjectsV2", Bucket="bucket"))["Contents"]

    directly(scenario)


def test_upload_ends_while_a_part_is_written() -> None:
    """A part of an upload that was aborted would never be removed."""

    async def scenario(s3: Direct) -> None:
        upload = await s3.call("CreateMultipartUpload", Bucket="bucket", Key="k")
        name = {"Bucket": "bucket", "Key": "k", "UploadId": upload["UploadId"]}
        part, _ = await asyncio.gather(
            s3.call("UploadPart", **name, PartNumber=1, Body=b"x" * 100_000),
            s3.call("AbortMultipartUpload", **name),
            return_exceptions=True,
        )
        assert isinstance(part, AwsError)
        assert "NoSuchUpload" == part.code

    directly(scenario)


def test_more_versions_than_a_page_of_the_store() -> None:
    """The first of many versions is still there."""

    async def scenario(s3: Direct) -> None:
        enabled = {"Status": "Enabled"}
        await s3.call("PutBucketVersioning", Bucket="bucket", VersioningConfiguration=enabled)
        first = await s3.call("PutObject", Bucket="bucket", Key="k", Body=b"")
        for _ in range(250):
            await s3.call("PutObject", Bucket="bucket", Key="k", Body=b"")
        name = {"Bucket": "bucket", "Key": "k", "VersionId": first["VersionId"]}
        assert first["ETag"] == (await s3.call("HeadObject", **name))["ETag"]
        listed = await s3.call("ListObjectVersions", Bucket="bucket")
        assert 251 == len(listed["Versions"])

    directly(scenario)


def test_folded_prefixes_are_jumped() -> None:
    """Many keys under few prefixes are listed as those, in order, with what lies between."""

    async def scenario(s3: Direct) -> None:
        keys = [f"{letter}/{number}" for letter in "ace" for number in range(40)]
        for key in [*keys, "b", "d"]:
            await s3.call("PutObject", Bucket="bucket", Key=key, Body=b"")
        found, token = [], {}
        while True:
            page = await s3.call(
                "ListObjectsV2", Bucket="bucket", Delimiter="/", MaxKeys=2, **token
            )
            found += [each["Prefix"] for each in page["CommonPrefixes"]]
            found += [each["Key"] for each in page["Contents"]]
            if not page["IsTruncated"]:
                break
            token = {"ContinuationToken": page["NextContinuationToken"]}
        assert ["a/", "b", "c/", "d", "e/"] == found

    directly(scenario)


def test_deletion_of_several_asks_for_their_etags(aws: Callable[..., Any], bucket: str) -> None:
    """A condition on one entry spares that entry alone; what is not built is refused."""
    s3 = aws("s3")
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"a")["ETag"]
    s3.put_object(Bucket=bucket, Key="b", Body=b"b")
    entries = [{"Key": "a", "ETag": etag}, {"Key": "b", "ETag": etag}]
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": entries})
    assert ["a"] == [item["Key"] for item in gone["Deleted"]]
    assert [("b", "PreconditionFailed")] == [(e["Key"], e["Code"]) for e in gone["Errors"]]
    sized = {"Objects": [{"Key": "b", "Size": 1}]}
    assert "NotImplemented" == code(s3.delete_objects, Bucket=bucket, Delete=sized)


def test_copy_is_described_by_its_request(aws: Callable[..., Any], bucket: str) -> None:
    """What a copy asks beside the bytes is done or refused."""
    s3 = aws("s3")
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", Metadata={"m": "1"})
    copy = {"Bucket": bucket, "Key": "b", "CopySource": {"Bucket": bucket, "Key": "a"}}
    assert "NotImplemented" == code(s3.copy_object, **copy, ACL="public-read")
    assert "NotImplemented" == code(s3.copy_object, **copy, ServerSideEncryption="aws:kms")
    s3.copy_object(**copy, StorageClass="STANDARD_IA")
    head = s3.head_object(Bucket=bucket, Key="b")
    assert ["STANDARD_IA", {"m": "1"}] == [head["StorageClass"], head["Metadata"]]
    itself = {**copy, "Key": "a"}
    assert "InvalidRequest" == code(s3.copy_object, **itself)


def test_old_version_is_copied_back(aws: Callable[..., Any], bucket: str) -> None:
    """How S3's users restore a version."""
    s3 = aws("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"2")
    source = {"Bucket": bucket, "Key": "k", "VersionId": first}
    s3.copy_object(Bucket=bucket, Key="k", CopySource=source)
    assert b"1" == s3.get_object(Bucket=bucket, Key="k")["Body"].read()


def test_framing_is_no_coding(aws: Callable[..., Any], bucket: str) -> None:
    """A reader that is told of aws-chunked would try to undo it."""
    s3 = aws("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentEncoding="gzip")
    assert "gzip" == s3.get_object(Bucket=bucket, Key="k")["ContentEncoding"]

    async def scenario(direct: Direct) -> None:
        name = {"Bucket": "bucket", "Key": "k"}
        await direct.call("PutObject", **name, Body=b"x", ContentEncoding="aws-chunked")
        assert "ContentEncoding" not in await direct.call("HeadObject", **name)

    directly(scenario)


@pytest.mark.parametrize(
    ("member", "right", "wrong"),
    [
        ("ChecksumCRC32C", "4waSgw==", "4waSgA=="),
        ("ChecksumCRC64NVME", "rosUhgp5mIg=", "rosUhgp5mIA="),
    ],
)
def test_checksums_are_compared(
    aws: Callable[..., Any], bucket: str, member: str, right: str, wrong: str
) -> None:
    """A checksum that is taken but not compared protects nothing."""
    s3, name = aws("s3"), {"Bucket": bucket, "Key": "k", "Body": b"123456789"}
    assert right == s3.put_object(**name, **{member: right})[member]
    assert "BadDigest" == code(s3.put_object, **name, **{member: wrong})


def test_checksums_of_a_whole_upload() -> None:
    """The parts' checks make the object's, and a wrong one is found."""

    async def scenario(s3: Direct) -> None:
        name = {"Bucket": "bucket", "Key": "k"}
        bodies = [b"a" * (5 * 1024**2), b"b"]
        upload = await s3.call(
            "CreateMultipartUpload", **name, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT"
        )
        name["UploadId"] = upload["UploadId"]
        parts = []
        for number, body in enumerate(bodies, 1):
            part = await s3.call("UploadPart", **name, PartNumber=number, Body=body)
            parts.append(
                {"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}
            )
        bad = [{**parts[0], "ChecksumCRC32": "AAAAAA=="}, parts[1]]
        for change, expected in (
            ({"MultipartUpload": {"Parts": bad}}, "InvalidPart"),
            ({"ChecksumCRC32": "AAAAAA=="}, "BadDigest"),
            ({"ChecksumType": "COMPOSITE"}, "InvalidRequest"),
            ({"MpuObjectSize": 7}, "InvalidRequest"),
        ):
            with pytest.raises(AwsError) as caught:
                await s3.call(
                    "CompleteMultipartUpload",
                    **{**name, "MultipartUpload": {"Parts": parts}, **change},
                )
            assert expected == caught.value.code
        value = base64.b64encode(zlib.crc32(b"".join(bodies)).to_bytes(4, "big")).decode()
        done = await s3.call(
            "CompleteMultipartUpload", **name, MultipartUpload={"Parts": parts}, ChecksumCRC32=value
        )
        assert [value, "FULL_OBJECT"] == [done["ChecksumCRC32"], done["ChecksumType"]]

    directly(scenario)


def test_uploads_are_listed_in_pages(aws: Callable[..., Any], bucket: str) -> None:
    """Whoever cleans up abandoned uploads must see them all."""
    s3 = aws("s3")
    begun = {
        s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] for key in ("a", "a", "b")
    }
    pages = s3.get_paginator("list_multipart_uploads").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 1}
    )
    assert begun == {upload["UploadId"] for page in pages for upload in page["Uploads"]}


def test_parts_are_listed_in_pages(aws: Callable[..., Any], bucket: str) -> None:
    """Whoever resumes an upload asks which parts are there."""
    s3, name = aws("s3"), {"Bucket": bucket, "Key": "k"}
    name["UploadId"] = s3.create_multipart_upload(**name)["UploadId"]
    for number in (1, 2, 5):
        s3.upload_part(**name, PartNumber=number, Body=b"x")
    pages = s3.get_paginator("list_parts").paginate(**name, PaginationConfig={"PageSize": 1})
    assert [1, 2, 5] == [part["PartNumber"] for page in pages for part in page["Parts"]]
    none = s3.list_parts(**name, MaxParts=0)
    assert (False, []) == (none["IsTruncated"], none.get("Parts", []))


@pytest.mark.parametrize("algorithm", ["XXHASH64", "XXHASH3", "XXHASH128", "MD5", "SHA512"])
def test_newer_checksums(aws: Callable[..., Any], bucket: str, algorithm: str) -> None:
    """The algorithms that S3 learned last are computed and compared too."""
    s3, name = aws("s3"), {"Bucket": bucket, "Key": "k"}
    member = f"Checksum{algorithm}"
    sizes = {"XXHASH64": 8, "XXHASH3": 8, "XXHASH128": 16, "MD5": 16, "SHA512": 64}
    wrong = base64.b64encode(bytes(sizes[algorithm])).decode()
    assert "BadDigest" == code(s3.put_object, **name, Body=b"", **{member: wrong})
    assert "InvalidRequest" == code(s3.put_object, **name, Body=b"", **{member: "AAAA"})


def test_parts_of_an_object(aws: Callable[..., Any], bucket: str) -> None:
    """An object remembers its parts: they are read by number, described, and may be copies of others."""
    s3, name = aws("s3"), {"Bucket": bucket, "Key": "k"}
    s3.put_object(Bucket=bucket, Key="source", Body=b"0123456789")
    upload = s3.create_multipart_upload(**name, ChecksumAlgorithm="CRC32C")["UploadId"]
    first = s3.upload_part(
        **name, UploadId=upload, PartNumber=1, Body=b"a" * 5 * 1024**2, ChecksumAlgorithm="CRC32C"
    )
    second = s3.upload_part_copy(
        **name,
        UploadId=upload,
        PartNumber=2,
        CopySource=f"{bucket}/source",
        CopySourceRange="bytes=2-5",
    )["CopyPartResult"]
    parts = [
        {"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32C": part["ChecksumCRC32C"]}
        for number, part in ((1, first), (2, second))
    ]
    s3.complete_multipart_upload(**name, UploadId=upload, MultipartUpload={"Parts": parts})
    part = s3.get_object(**name, PartNumber=2)
    assert [b"2345", 2, "bytes 5242880-5242883/5242884"] == [
        part["Body"].read(),
        part["PartsCount"],
        part["ContentRange"],
    ]
    assert "416" == code(s3.head_object, **name, PartNumber=3)
    found = s3.get_object_attributes(
        **name, ObjectAttributes=["ETag", "ObjectSize", "ObjectParts", "Checksum"]
    )
    assert [5242884, "COMPOSITE", 2] == [
        found["ObjectSize"],
        found["Checksum"]["ChecksumType"],
        found["ObjectParts"]["TotalPartsCount"],
    ]
    assert [4] == [p["Size"] for p in found["ObjectParts"]["Parts"] if p["PartNumber"] == 2]


def test_what_was_never_set(aws: Callable[..., Any], bucket: str) -> None:
    """Tools that compare a bucket with a plan ask for everything; a new bucket answers as on AWS."""
    s3, name = aws("s3"), {"Bucket": bucket}
    assert "NoSuchCORSConfiguration" == code(s3.get_bucket_cors, **name)
    assert "NoSuchWebsiteConfiguration" == code(s3.get_bucket_website, **name)
    assert "ReplicationConfigurationNotFoundError" == code(s3.get_bucket_replication, **name)
    assert "ObjectLockConfigurationNotFoundError" == code(s3.get_object_lock_configuration, **name)
    assert "BucketOwner" == s3.get_bucket_request_payment(**name)["Payer"]
    assert "LoggingEnabled" not in s3.get_bucket_logging(**name)
    assert "Status" not in s3.get_bucket_accelerate_configuration(**name)
    (grant,) = s3.get_bucket_acl(**name)["Grants"]
    assert "FULL_CONTROL" == grant["Permission"]
    assert "AccessControlListNotSupported" == code(s3.put_bucket_acl, **name, ACL="public-read")
    s3.put_bucket_acl(**name, ACL="private")
    s3.put_bucket_ownership_controls(
        **name, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    )
    assert "NotImplemented" == code(s3.put_bucket_acl, **name, ACL="public-read")
    s3.delete_bucket_ownership_controls(**name)
    assert "OwnershipControlsNotFoundError" == code(s3.get_bucket_ownership_controls, **name)


def test_conditions_of_copies(aws: Callable[..., Any], bucket: str) -> None:
    """A copy whose source does not fit is refused under the name of its header."""
    s3, name = aws("s3"), {"Bucket": bucket, "Key": "k"}
    etag = s3.put_object(**name, Body=b"x")["ETag"]
    copy = {"Bucket": bucket, "Key": "copy", "CopySource": f"{bucket}/k"}
    assert "PreconditionFailed" == code(s3.copy_object, **copy, CopySourceIfNoneMatch=etag)
    assert "PreconditionFailed" == code(s3.copy_object, **copy, CopySourceIfMatch='"0"')
    assert "NotImplemented" == code(s3.put_object, **name, IfMatch="*")
    assert "InvalidArgument" == code(s3.list_objects_v2, Bucket=bucket, EncodingType="other")


def test_archived_objects_are_not_read(aws: Callable[..., Any], bucket: str) -> None:
    """What is in an archive has to be restored before; a class that is none is refused."""
    s3, name = aws("s3"), {"Bucket": bucket, "Key": "k"}
    s3.put_object(**name, Body=b"x", StorageClass="GLACIER")
    assert "GLACIER" == s3.head_object(**name)["StorageClass"]
    assert "InvalidObjectState" == code(s3.get_object, **name)
    assert "InvalidStorageClass" == code(s3.put_object, **name, StorageClass="OUTPOSTS")


def test_version_that_is_not_there(aws: Callable[..., Any], bucket: str) -> None:
    """Whoever names a version must mean one that can be."""
    s3, name = aws("s3"), {"Bucket": bucket, "Key": "k"}
    s3.put_object(**name, Body=b"x")
    wrong = "HPniJFCxqTsMuIH9KX8K8wEjNUgmABCD"
    assert "InvalidArgument" == code(s3.delete_object, **name, VersionId=wrong)
    entry = {"Key": "k", "VersionId": wrong}
    (error,) = s3.delete_objects(Bucket=bucket, Delete={"Objects": [entry]})["Errors"]
    assert "NoSuchVersion" == error["Code"]


def test_object_that_was_put_while_an_upload_went_on(aws: Callable[..., Any], bucket: str) -> None:
    """An upload that shall replace one object does not replace the one that came in between."""
    s3, name = aws("s3"), {"Bucket": bucket, "Key": "k"}
    etag = s3.put_object(**name, Body=b"x")["ETag"]
    upload = s3.create_multipart_upload(**name)["UploadId"]
    part = s3.upload_part(**name, UploadId=upload, PartNumber=1, Body=b"y")["ETag"]
    s3.put_object(**name, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    assert "ConditionalRequestConflict" == code(
        s3.complete_multipart_upload, **name, UploadId=upload, MultipartUpload=parts, IfMatch=etag
    )


def test_pages_of_versions(aws: Callable[..., Any], bucket: str) -> None:
    """A page ends wherever it is full, and the next goes on there, also when what it ended with is gone."""
    s3 = aws("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    made = []
    for key in ("a", "b", "b", "b", "b", "d/1", "d/2", "e"):
        made.append((key, s3.put_object(Bucket=bucket, Key=key)["VersionId"]))
    marker = ("b", s3.delete_object(Bucket=bucket, Key="b")["VersionId"])
    expected = [made[0], marker, *reversed(made[1:5]), *made[5:]]

    def versions(page: dict[str, Any]) -> list[tuple[str, str]]:
        found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        return sorted(((one["Key"], one["VersionId"]) for one in found), key=expected.index)

    for size in (1, 2, 3, 5, 100):
        pages = s3.get_paginator("list_object_versions").paginate(
            Bucket=bucket, PaginationConfig={"PageSize": size}
        )
        assert expected == [one for page in pages for one in versions(page)]

    first = s3.list_object_versions(Bucket=bucket, MaxKeys=3)
    assert made[4] == (first["NextKeyMarker"], first["NextVersionIdMarker"])
    places = {"KeyMarker": first["NextKeyMarker"], "VersionIdMarker": first["NextVersionIdMarker"]}
    for key, version in expected[:3]:
        s3.delete_object(Bucket=bucket, Key=key, VersionId=version)
    rest = s3.list_object_versions(Bucket=bucket, Delimiter="/", **places)
    assert [*reversed(made[1:4]), made[7]] == versions(rest)
    assert rest["Versions"][0]["IsLatest"]
    assert [{"Prefix": "d/"}] == rest["CommonPrefixes"]
    inside = s3.list_object_versions(Bucket=bucket, Delimiter="/", KeyMarker="d/1")
    assert [made[7]] == versions(inside)
    assert "InvalidArgument" == code(
        s3.list_object_versions, Bucket=bucket, VersionIdMarker=made[0][1]
    )


def test_versions_are_deleted_more_than_once(aws: Callable[..., Any], bucket: str) -> None:
    """A version that is gone is deleted; one that never was is not."""
    s3 = aws("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key="k")["VersionId"]
    names = [{"Key": "k", "VersionId": version}]
    for _ in range(2):
        told = s3.delete_objects(Bucket=bucket, Delete={"Objects": names})
        assert names == told["Deleted"]
        assert "Errors" not in told
    never = [{"Key": "k", "VersionId": "HPniJFCxqTsMuIH9KX8K8wEjNUgmABCD"}]
    told = s3.delete_objects(Bucket=bucket, Delete={"Objects": never})
    assert "NoSuchVersion" == told["Errors"][0]["Code"]
    assert "InvalidArgument" == code(s3.delete_object, Bucket=bucket, **never[0])


def test_delete_markers_are_told(aws: Callable[..., Any], bucket: str) -> None:
    """In header fields, by what the marker covers and by the marker itself."""
    s3 = aws("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]

    def told(call: Callable[..., Any], **more: Any) -> tuple[int, str | None, str | None]:
        with pytest.raises(ClientError) as caught:
            call(Bucket=bucket, **{"Key": "k", **more})
        found = caught.value.response["ResponseMetadata"]
        names = ("x-amz-delete-marker", "x-amz-version-id")
        return found["HTTPStatusCode"], *(found["HTTPHeaders"].get(name) for name in names)

    assert (404, "true", marker) == told(s3.head_object) == told(s3.get_object)
    assert (405, "true", marker) == told(s3.head_object, VersionId=marker)
    assert (404, None, None) == told(s3.get_object, Key="other")


def test_numbers_that_are_none(endpoint: str, bucket: str) -> None:
    """They are refused by name; an empty one is as if it had not been given."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{endpoint}/{bucket}?max-keys=many")
    text = refused.value.read().decode()
    assert "<Code>InvalidArgument</Code>" in text
    assert "Provided max-keys not an integer or within integer range" in text
    assert "<ArgumentValue>many</ArgumentValue>" in text
    with urllib.request.urlopen(f"{endpoint}/{bucket}?max-keys=") as answer:
        assert "<MaxKeys>1000</MaxKeys>" in answer.read().decode()


@pytest.mark.parametrize(
    ("operation", "argument", "name"),
    [
        ("list_objects", "MaxKeys", "maxKeys"),
        ("list_objects_v2", "MaxKeys", "maxKeys"),
        ("list_object_versions", "MaxKeys", "maxKeys"),
        ("list_multipart_uploads", "MaxUploads", "max-uploads"),
    ],
)
def test_pages_of_negative_length(
    aws: Callable[..., Any], bucket: str, operation: str, argument: str, name: str
) -> None:
    """A page has no fewer keys than none."""
    with pytest.raises(ClientError) as refused:
        getattr(aws("s3"), operation)(Bucket=bucket, **{argument: -1})
    error = refused.value.response["Error"]
    assert ("InvalidArgument", name, "-1") == (
        error["Code"],
        error["ArgumentName"],
        error["ArgumentValue"],
    )
    assert f"Argument {name} must be an integer between 0 and 2147483647" == error["Message"]


def test_tags_that_are_not_encoded(aws: Callable[..., Any], bucket: str) -> None:
    """A comma does not part tags: two of them must not become one with a strange value."""
    told = code(aws("s3").put_object, Bucket=bucket, Key="k", Tagging="a=1,b=2")
    assert "InvalidArgument" == told
