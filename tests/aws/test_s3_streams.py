"""Bodies that do not pass through memory whole: they come in and go out in chunks, and are checked on the way."""

import base64
import contextlib
import hashlib
import http.client
import os
import re
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.conftest import Server

Aws = Callable[..., Any]
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def running(launch: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A Penstock whose memory and files only these tests touch."""
    return launch(tmp_path_factory.mktemp("streams"))


@pytest.fixture(scope="module")
def s3(running: Server, connect: Aws) -> Any:
    client = connect(running.endpoint, "s3")
    client.create_bucket(Bucket="bucket")
    return client


def peak(server: Server) -> int:
    """The most memory (MiB) that the process ever had."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def files(server: Server) -> set[str]:
    """The digests of the files that objects have."""
    folder = Path(server.data) / "objects"
    return {path.parent.name + path.name for path in folder.glob("??/*")}


def test_large_object_in_little_memory(s3: Any, running: Server) -> None:
    """100 MiB go in and come back while the process grows by a few."""
    s3.put_object(Bucket="bucket", Key="warm", Body=os.urandom(3 * MIB))
    s3.get_object(Bucket="bucket", Key="warm")["Body"].read()
    before = peak(running)
    body = os.urandom(MIB) * 100
    put = s3.put_object(Bucket="bucket", Key="large", Body=body)
    assert f'"{hashlib.md5(body).hexdigest()}"' == put["ETag"]
    crc = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    assert [crc, "FULL_OBJECT"] == [put["ChecksumCRC32"], put["ChecksumType"]]
    found = hashlib.md5()
    stream = s3.get_object(Bucket="bucket", Key="large")["Body"]
    while chunk := stream.read(MIB):
        found.update(chunk)
    assert put["ETag"].strip('"') == found.hexdigest()
    assert peak(running) - before < 40
    part = s3.get_object(Bucket="bucket", Key="large", Range=f"bytes={MIB - 5}-{9 * MIB}")
    assert body[MIB - 5 : 9 * MIB + 1] == part["Body"].read()
    s3.delete_object(Bucket="bucket", Key="large")


def test_parts_come_back_as_one(s3: Any) -> None:
    """A range may begin in one part and end in another."""
    name = {"Bucket": "bucket", "Key": "parts"}
    upload = s3.create_multipart_upload(**name)["UploadId"]
    bodies = [os.urandom(6 * MIB), os.urandom(6 * MIB), b"end"]
    parts = []
    for number, body in enumerate(bodies, 1):
        etag = s3.upload_part(**name, UploadId=upload, PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    s3.complete_multipart_upload(**name, UploadId=upload, MultipartUpload={"Parts": parts})
    whole = b"".join(bodies)
    assert whole == s3.get_object(**name)["Body"].read()
    assert whole[5 * MIB : 11 * MIB] == (
        s3.get_object(**name, Range=f"bytes={5 * MIB}-{11 * MIB - 1}")["Body"].read()
    )


def test_body_that_is_not_what_was_declared(s3: Any) -> None:
    """A large body with a wrong checksum leaves nothing behind, and the connection goes on."""
    name = {"Bucket": "bucket", "Key": "wrong"}
    for wrong in (
        {"ContentMD5": base64.b64encode(b"0" * 16).decode()},
        {"ChecksumCRC32": "AAAAAA=="},
    ):
        with pytest.raises(ClientError, match="BadDigest"):
            s3.put_object(**name, Body=b"x" * 2 * MIB, **wrong)
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(**name)
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3.put_object(Bucket="no-such-bucket-here", Key="k", Body=b"x" * 8 * MIB)
    s3.put_object(**name, Body=b"x" * 2 * MIB)
    assert 2 * MIB == s3.head_object(**name)["ContentLength"]


def test_large_bodies_are_signed(launch: Callable[..., Server], tmp_path: Path) -> None:
    """With signatures on, a body must have the digest that was signed, whether it is read at once or not."""
    server = launch(tmp_path, "--auth", "sigv4")
    found = re.search(
        r"AWS_ACCESS_KEY_ID=(\S+) AWS_SECRET_ACCESS_KEY=(\S+)", server.log.read_text()
    )
    assert found is not None
    key = {"aws_access_key_id": found[1], "aws_secret_access_key": found[2]}
    signed = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        config=Config(signature_version="s3v4", retries={"max_attempts": 0}),
        **key,
    )
    signed.create_bucket(Bucket="bucket")
    body = os.urandom(3 * MIB)
    signed.put_object(Bucket="bucket", Key="k", Body=body)
    assert body == signed.get_object(Bucket="bucket", Key="k")["Body"].read()
    url = signed.generate_presigned_url("put_object", {"Bucket": "bucket", "Key": "by-url"})
    assert 200 == send(server, url, body)
    assert body == signed.get_object(Bucket="bucket", Key="by-url")["Body"].read()
    assert 403 == send(server, url + "0", body)

    def bend(request: Any, **_: Any) -> None:
        request.body = request.body.getvalue()[:-1] + b"!"

    signed.meta.events.register("before-send.s3.PutObject", bend)
    with pytest.raises(ClientError, match="XAmzContentSHA256Mismatch"):
        signed.put_object(Bucket="bucket", Key="bent", Body=b"x" * 3 * MIB)


def send(server: Server, url: str, body: bytes) -> int:
    """PUT a body to a URL of a server; the status."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    with contextlib.closing(connection):
        connection.request("PUT", url.partition(str(server.port))[2], body)
        return connection.getresponse().status


def test_upload_that_breaks_off_is_no_object(s3: Any, running: Server) -> None:
    """A client that goes away in the middle leaves neither object nor file."""
    before = files(running)
    with socket.create_connection(("127.0.0.1", running.port)) as client:
        head = f"PUT /bucket/broken HTTP/1.1\r\nhost: x\r\ncontent-length: {8 * MIB}\r\n\r\n"
        client.sendall(head.encode() + b"x" * 3 * MIB)
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket="bucket", Key="broken")
    assert before == files(running)


def test_clients_that_go_away_hold_up_nobody(s3: Any, running: Server) -> None:
    """Clients that reset their connection before the answer leave the answers of others alone."""
    request = b"PUT /bucket/gone HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx"
    for number in range(100):
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(request)
        if number % 10 == 0:
            s3.put_object(Bucket="bucket", Key="stays", Body=b"x")
    assert "Traceback" not in running.log.read_text()


def test_slow_reader_holds_up_nobody(s3: Any, running: Server) -> None:
    """Whoever does not read a large answer costs no memory, and others are answered."""
    s3.put_object(Bucket="bucket", Key="slow", Body=os.urandom(MIB) * 64)
    before = peak(running)
    with socket.create_connection(("127.0.0.1", running.port)) as client:
        client.sendall(b"GET /bucket/slow HTTP/1.1\r\nhost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        assert s3.head_object(Bucket="bucket", Key="slow")["ContentLength"]
    assert peak(running) - before < 20


def test_files_go_when_nobody_names_them(s3: Any, running: Server) -> None:
    """The same bytes are one file, which stays while any object names it, and goes a while after the last."""
    body = os.urandom(2 * MIB)
    digest = hashlib.sha256(body).hexdigest()
    running.steer("clock", {"freeze": True})
    s3.put_object(Bucket="bucket", Key="one", Body=body)
    s3.copy_object(Bucket="bucket", Key="two", CopySource="bucket/one")
    s3.put_object(Bucket="bucket", Key="three", Body=body)
    s3.put_object(Bucket="bucket", Key="one", Body=b"other")
    s3.delete_object(Bucket="bucket", Key="three")
    running.steer("clock", {"advance": 3600})
    assert digest in files(running)
    assert body == s3.get_object(Bucket="bucket", Key="two")["Body"].read()
    s3.delete_object(Bucket="bucket", Key="two")
    s3.put_object(Bucket="bucket", Key="again", Body=body)
    running.steer("clock", {"advance": 3600})
    assert body == s3.get_object(Bucket="bucket", Key="again")["Body"].read()
    s3.delete_object(Bucket="bucket", Key="again")
    running.steer("clock", {"advance": 3600})
    assert digest not in files(running)
    running.steer("clock", {"resume": True})


def test_bodies_of_every_size(s3: Any) -> None:
    """Objects are the same to their readers wherever their bytes are kept, also when one takes another's place."""
    sizes = [1024, 2 * MIB, 0, 4096, 4097, 65_536, 1, 65_537, 300_000]
    bodies = [os.urandom(size) for size in sizes]
    bodies[0] = b"\n{}\n\0" * 170
    s3.create_bucket(Bucket="versions")
    s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    seen = []
    for body in bodies:
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        assert etag == s3.put_object(Bucket="bucket", Key="any", Body=body)["ETag"]
        s3.copy_object(Bucket="bucket", Key="copy", CopySource="bucket/any")
        copied = s3.copy_object(Bucket="versions", Key="any", CopySource="bucket/copy")
        seen.append((copied["VersionId"], body))
        for key in ("any", "copy"):
            got = s3.get_object(Bucket="bucket", Key=key, ChecksumMode="ENABLED")
            assert (etag, len(body)) == (got["ETag"], got["ContentLength"])
            assert body == got["Body"].read()
        if body:
            part = s3.get_object(Bucket="bucket", Key="copy", Range="bytes=-700")
            assert body[-700:] == part["Body"].read()
    listed = s3.list_object_versions(Bucket="versions")["Versions"]
    assert [(one, len(body)) for one, body in reversed(seen)] == [
        (each["VersionId"], each["Size"]) for each in listed
    ]
    for version, body in seen:
        got = s3.get_object(Bucket="versions", Key="any", VersionId=version)
        assert body == got["Body"].read()
    while seen:
        s3.delete_object(Bucket="versions", Key="any", VersionId=seen.pop()[0])
        if seen:
            assert seen[-1][1] == s3.get_object(Bucket="versions", Key="any")["Body"].read()


def test_part_copied_from_a_tiny_object(s3: Any) -> None:
    """A part is made of bytes that are kept with another object's document, and outlives it."""
    body = os.urandom(1000)
    s3.put_object(Bucket="bucket", Key="tiny", Body=body)
    upload = {"Bucket": "bucket", "Key": "parts-of-tiny"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    part = s3.upload_part_copy(
        **upload, PartNumber=1, CopySource="bucket/tiny", CopySourceRange="bytes=100-899"
    )["CopyPartResult"]
    s3.delete_object(Bucket="bucket", Key="tiny")
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    got = s3.get_object(Bucket="bucket", Key="parts-of-tiny")
    assert body[100:900] == got["Body"].read()


def test_crash_loses_no_object_and_keeps_no_stray_file(
    launch: Callable[..., Server], connect: Aws, tmp_path: Path
) -> None:
    """What was acknowledged is there after a kill; a file without an owner goes, one that has an owner stays."""
    server = launch(tmp_path)
    s3 = connect(server.endpoint, "s3")
    s3.create_bucket(Bucket="bucket")
    large, small = os.urandom(2 * MIB), os.urandom(1000)
    s3.put_object(Bucket="bucket", Key="large", Body=large)
    s3.put_object(Bucket="bucket", Key="small", Body=small)
    server.kill()
    stray = tmp_path / "objects" / "ab" / ("c" * 62)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"x")
    half = tmp_path / "objects" / "incoming" / "half"
    half.write_bytes(b"x")
    server.start()
    server.steer("clock", {"freeze": True})
    server.steer("clock", {"advance": 3600})
    assert not stray.exists()
    assert not half.exists()
    for key, body in (("large", large), ("small", small)):
        assert body == s3.get_object(Bucket="bucket", Key=key)["Body"].read()
