"""What S3 says of uploads in parts, and of other requests, that do not fit."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

Aws = Callable[..., Any]
ETAG = "900150983cd24fb0d6963f7d28e17f72"  # of `abc`


class Upload:
    """An upload that was begun, with what its parts are called."""

    def __init__(self, s3: Any, bucket: str, **algorithm: str) -> None:
        self.s3 = s3
        begun = s3.create_multipart_upload(Bucket=bucket, Key="a b", **algorithm)
        self.name = {"Bucket": bucket, "Key": "a b", "UploadId": begun["UploadId"]}

    def part(self, number: int = 1, **more: Any) -> dict[str, Any]:
        told = self.s3.upload_part(**self.name, PartNumber=number, Body=b"abc", **more)
        checksums = {name: told[name] for name in told if name.startswith("Checksum")}
        return {"PartNumber": number, "ETag": told["ETag"], **checksums}

    def complete(self, *parts: dict[str, Any], **more: Any) -> Any:
        return self.s3.complete_multipart_upload(
            **self.name, MultipartUpload={"Parts": list(parts)}, **more
        )


@pytest.fixture
def s3(aws: Aws, unique: str) -> Any:
    aws("s3").create_bucket(Bucket=unique)
    return aws("s3")


def told(call: Callable[..., Any], *parts: Any, **more: Any) -> dict[str, str]:
    """The error that a call meets."""
    with pytest.raises(ClientError) as refused:
        call(*parts, **more)
    error: dict[str, str] = refused.value.response["Error"]
    return error


def only(error: dict[str, str], *names: str) -> list[str]:
    return [error[name] for name in names]


def test_parts_that_do_not_fit(s3: Any, unique: str) -> None:
    """A completion says which part is to blame, and leaves the upload as it was."""
    upload = Upload(s3, unique)
    first, second = ({**upload.part(number)} for number in (1, 2))
    bare = [{name: part[name] for name in ("PartNumber", "ETag")} for part in (first, second)]
    upload_id = upload.name["UploadId"]
    names = ("Code", "PartNumber", "ETag", "UploadId")
    unknown = told(upload.complete, {**bare[0], "PartNumber": 7})
    assert ["InvalidPart", "7", ETAG, upload_id] == only(unknown, *names)
    small = told(upload.complete, *bare)
    assert ["EntityTooSmall", "1", ETAG, "3", "5242880"] == only(
        small, "Code", "PartNumber", "ETag", "ProposedSize", "MinSizeAllowed"
    )
    order = told(upload.complete, *bare[::-1])
    assert ["InvalidPartOrder", upload_id] == only(order, "Code", "UploadId")
    none = told(s3.complete_multipart_upload, **upload.name)
    assert "You must specify at least one part" == none["Message"]
    size = told(upload.complete, bare[0], MpuObjectSize=5)
    assert size["Message"].endswith("header value 5 does not match what was computed: 3")
    assert upload.complete(bare[0])["Location"].endswith("/a%20b")


def test_checksums_of_parts_are_listed(s3: Any, unique: str) -> None:
    """A composite checksum needs those of all parts, of its own algorithm."""
    upload = Upload(s3, unique, ChecksumAlgorithm="SHA256", ChecksumType="COMPOSITE")
    other = told(upload.part, ChecksumAlgorithm="CRC32")
    assert other["Message"].endswith("expected checksum Type: sha256, actual checksum Type: crc32")
    part = upload.part(ChecksumAlgorithm="SHA256")
    bare = {name: part[name] for name in ("PartNumber", "ETag")}
    missing = told(upload.complete, bare)
    assert missing["Message"].endswith("It was missing for part 1 in the request.")
    wrong = told(upload.complete, {**bare, "ChecksumCRC32": "NSRBwg=="})
    assert "The crc32 you specified for part 1 did not match what we received." == wrong["Message"]
    kind = told(upload.complete, part, ChecksumType="FULL_OBJECT")
    assert kind["Message"].startswith("The upload was created using the COMPOSITE checksum mode.")
    assert upload.complete(part)["ChecksumSHA256"].endswith("-1")


def test_uploads_without_an_algorithm_list_no_checksums(s3: Any, unique: str) -> None:
    """What a part's own checksum was is no part of such an upload."""
    upload = Upload(s3, unique)
    part = upload.part(ChecksumAlgorithm="CRC32C")
    (listed,) = s3.list_parts(**upload.name)["Parts"]
    assert "ChecksumCRC32C" not in listed
    assert "InvalidPart" == told(upload.complete, part)["Code"]
    kind = told(s3.create_multipart_upload, Bucket=unique, Key="k", ChecksumType="COMPOSITE")
    assert kind["Message"].endswith("with the x-amz-checksum-algorithm header.")


def test_an_upload_is_completed_more_than_once(s3: Any, unique: str) -> None:
    """Whoever did not hear the answer asks again; what was put since, or is listed differently, is not told."""
    upload = Upload(s3, unique)
    part = {"PartNumber": 1, "ETag": upload.part()["ETag"]}
    first = upload.complete(part)
    again = upload.complete(part)
    assert first["ETag"] == again["ETag"]
    assert "NoSuchUpload" == told(upload.complete, {**part, "ETag": "0" * 32})["Code"]
    assert "NoSuchUpload" == told(upload.complete, {**part, "ETag": "none"})["Code"]
    s3.put_object(Bucket=unique, Key="a b", Body=b"new")
    assert "NoSuchUpload" == told(upload.complete, part)["Code"]


def test_pages_of_uploads(s3: Any, unique: str) -> None:
    """By key, then as they were begun; a marker of another key's upload is none."""
    ids = [s3.create_multipart_upload(Bucket=unique, Key=key)["UploadId"] for key in ("b", "a")]
    first = s3.list_multipart_uploads(Bucket=unique, MaxUploads=1)
    assert (True, "a", ids[1]) == (
        first["IsTruncated"],
        first["NextKeyMarker"],
        first["NextUploadIdMarker"],
    )
    markers = {"KeyMarker": "a", "UploadIdMarker": ids[1]}
    second = s3.list_multipart_uploads(Bucket=unique, **markers)
    assert [ids[0]] == [upload["UploadId"] for upload in second["Uploads"]]
    wrong = told(s3.list_multipart_uploads, Bucket=unique, KeyMarker="a", UploadIdMarker=ids[0])
    assert ["Invalid uploadId marker", "upload-id-marker"] == only(wrong, "Message", "ArgumentName")


def test_uploads_folded_at_a_delimiter(s3: Any, unique: str) -> None:
    """Who cleans up looks folder by folder: prefixes count as uploads do, and a marker within one passes all of it."""
    keys = ("folder/sub/1", "folder/sub/2", "folder/file1", "folder/file2", "other")
    ids = {
        key: s3.create_multipart_upload(Bucket=unique, Key=key)["UploadId"]
        for key in reversed(keys)
    }

    def page(**options: Any) -> tuple[list[str], list[str], bool, str, str]:
        told = s3.list_multipart_uploads(Bucket=unique, Delimiter="/", **options)
        assert "/" == told["Delimiter"]
        return (
            [upload["Key"] for upload in told.get("Uploads", [])],
            [prefix["Prefix"] for prefix in told.get("CommonPrefixes", [])],
            told["IsTruncated"],
            told["NextKeyMarker"],
            told["NextUploadIdMarker"],
        )

    files = ["folder/file1", "folder/file2"]
    assert (["other"], ["folder/"], False, "other", ids["other"]) == page()
    inside = {"Prefix": "folder/"}
    assert (files, ["folder/sub/"], False, files[1], ids[files[1]]) == page(**inside)
    assert (files[:1], [], True, files[0], ids[files[0]]) == page(**inside, MaxUploads=1)
    assert (files, [], True, files[1], ids[files[1]]) == page(**inside, MaxUploads=2)
    markers = {"KeyMarker": files[1], "UploadIdMarker": ids[files[1]]}
    assert ([], ["folder/sub/"], False, "", "") == page(**inside, **markers)
    for passed in ("folder/sub/", "folder/sub/1"):
        assert ([], [], False, "", "") == page(**inside, KeyMarker=passed)
    assert ([], ["folder/"], True, "", "") == page(MaxUploads=1)


def test_uploads_are_told_encoded(s3: Any, unique: str) -> None:
    """Who asks for it gets every key of a listing encoded: XML cannot hold all characters of keys."""
    s3.create_multipart_upload(Bucket=unique, Key="a b/c d/1")
    s3.create_multipart_upload(Bucket=unique, Key="a b/e f")

    told = s3.list_multipart_uploads(
        Bucket=unique, Prefix="a b/", Delimiter="/", KeyMarker="a b", EncodingType="url"
    )

    assert ["a%20b/c%20d/"] == [prefix["Prefix"] for prefix in told["CommonPrefixes"]]
    assert ["a%20b/e%20f"] == [upload["Key"] for upload in told["Uploads"]]
    assert ["a%20b/", "a%20b", "a%20b/e%20f", "/", "url"] == only(
        told, "Prefix", "KeyMarker", "NextKeyMarker", "Delimiter", "EncodingType"
    )


def test_digests_that_are_none(s3: Any, unique: str) -> None:
    """What cannot be a digest is refused as such, and so are two checksums of one body."""
    name = {"Bucket": unique, "Key": "k", "Body": b"abc"}
    assert "InvalidDigest" == told(s3.put_object, **name, ContentMD5="MTIz")["Code"]
    assert "InvalidDigest" == told(s3.put_object, **name, ContentMD5="é")["Code"]
    several = told(s3.put_object, **name, ChecksumCRC32="NSRBwg==", ChecksumSHA1="x")
    assert several["Message"].startswith("Expecting a single x-amz-checksum- header.")


def test_delete_markers_have_no_tags(s3: Any, unique: str) -> None:
    """There is no object whose tags could be meant."""
    s3.put_bucket_versioning(Bucket=unique, VersioningConfiguration={"Status": "Enabled"})
    name = {"Bucket": unique, "Key": "k"}
    s3.put_object(**name)
    s3.delete_object(**name)
    for call, method in ((s3.get_object_tagging, "GET"), (s3.delete_object_tagging, "DELETE")):
        error = told(call, **name)
        assert ["MethodNotAllowed", method, "DeleteMarker"] == only(
            error, "Code", "Method", "ResourceType"
        )
    assert "NoSuchKey" == told(s3.get_object, **name)["Code"]


def test_conditions_and_versions_that_cannot_be(s3: Any, unique: str) -> None:
    """What contradicts itself, or can be no version, is refused; a date in the future is no condition."""
    name = {"Bucket": unique, "Key": "k"}
    s3.put_object(**name)
    both = told(s3.put_object, **name, IfMatch="x", IfNoneMatch="*")
    assert ["NotImplemented", "If-Match,If-None-Match"] == only(both, "Code", "Header")
    assert (
        200
        == (
            s3.get_object(**name, IfModifiedSince="2199-01-01")["ResponseMetadata"][
                "HTTPStatusCode"
            ]
        )
    )
    version = told(s3.get_object, **name, VersionId="nothing")
    assert ["InvalidArgument", "versionId"] == only(version, "Code", "ArgumentName")


def test_markers_and_tokens(s3: Any, unique: str) -> None:
    """A marker within a folded prefix passes all of it; an empty token is none."""
    for key in ("a/1", "a/2", "b"):
        s3.put_object(Bucket=unique, Key=key)
    page = s3.list_objects(Bucket=unique, Delimiter="/", Marker="a/1")
    assert (["b"], False) == ([one["Key"] for one in page["Contents"]], "CommonPrefixes" in page)
    token = told(s3.list_objects_v2, Bucket=unique, ContinuationToken="")
    assert ["InvalidArgument", "continuation-token"] == only(token, "Code", "ArgumentName")


def test_settings_that_cannot_be(s3: Any, unique: str) -> None:
    """Settings that AWS would refuse are not stored."""
    name = {"Bucket": unique}
    block = s3.get_public_access_block(**name)["PublicAccessBlockConfiguration"]
    assert {True} == set(block.values())
    for policy, text in (("1", "Policies must be"), ("{}", "Missing required field Statement")):
        error = told(s3.put_bucket_policy, **name, Policy=policy)
        assert "MalformedPolicy" == error["Code"]
        assert error["Message"].startswith(text)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    for rules in ([], [rule, rule]):
        configuration = {"ServerSideEncryptionConfiguration": {"Rules": rules}}
        assert "MalformedXML" == told(s3.put_bucket_encryption, **name, **configuration)["Code"]
    bypass = told(s3.delete_object, **name, Key="k", BypassGovernanceRetention=True)
    assert "x-amz-bypass-governance-retention" == bypass["ArgumentName"]
    tags = {"CreateBucketConfiguration": {"Tags": [{"Key": "a", "Value": "b"}]}}
    assert "BucketAlreadyOwnedByYou" == told(s3.create_bucket, **name, **tags)["Code"]


def test_copies_of_uploads_are_of_one_piece(s3: Any, unique: str) -> None:
    """A copy has the ETag and the checksum of its bytes; the original's composite ones told without their count."""
    upload = Upload(s3, unique, ChecksumAlgorithm="CRC32", ChecksumType="COMPOSITE")
    made = upload.complete(upload.part(ChecksumAlgorithm="CRC32"))
    assert made["ChecksumCRC32"].endswith("-1")
    name = {"Bucket": unique, "Key": "a b"}
    asked = {"ObjectAttributes": ["Checksum", "ObjectParts"]}
    original = s3.get_object_attributes(**name, **asked)
    assert made["ChecksumCRC32"] == f"{original['Checksum']['ChecksumCRC32']}-1"
    copied = s3.copy_object(Bucket=unique, Key="c", CopySource=name)["CopyObjectResult"]
    assert (f'"{ETAG}"', "NSRBwg==", "FULL_OBJECT") == (
        copied["ETag"],
        copied["ChecksumCRC32"],
        copied["ChecksumType"],
    )
    assert "ObjectParts" not in s3.get_object_attributes(Bucket=unique, Key="c", **asked)


def test_ranges_of_all_bytes_have_checksums(s3: Any, unique: str) -> None:
    """The checksum of the whole says nothing of a part."""
    name = {"Bucket": unique, "Key": "k"}
    s3.put_object(**name, Body=b"abc", ChecksumAlgorithm="CRC32")
    for text, there in (("bytes=0-9", True), ("bytes=-9", True), ("bytes=0-1", False)):
        got = s3.get_object(**name, Range=text, ChecksumMode="enabled")
        assert there == ("ChecksumCRC32" in got)
