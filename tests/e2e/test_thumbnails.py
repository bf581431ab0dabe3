"""The thumbnails example, deployed by `penstock deploy` and used by an upload."""

import json
import runpy
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "thumbnails"
SECONDS = 30


@pytest.fixture(scope="module")
def outputs(penstock: Any, aws: Callable[..., Any]) -> dict[str, str]:
    """What the deployed stack tells."""
    runtime = f"PythonRuntime=python{sys.version_info.major}.{sys.version_info.minor}"
    deployed = penstock(
        "deploy", str(FOLDER / "template.yaml"), "--stack", "thumbnails", "--parameter", runtime
    )
    assert 0 == deployed.returncode, deployed.stdout + deployed.stderr
    (stack,) = aws("cloudformation").describe_stacks(StackName="thumbnails")["Stacks"]
    return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}


@pytest.fixture(scope="module")
def png() -> dict[str, Any]:
    """The function's own reader and writer of pictures."""
    return runpy.run_path(str(FOLDER / "functions" / "thumbnail" / "png.py"))


def within(look: Callable[[], Any]) -> Any:
    """What a look finds, as soon as it finds something."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("nothing came in time")


def test_upload_becomes_a_thumbnail(
    outputs: dict[str, str], png: dict[str, Any], aws: Callable[..., Any]
) -> None:
    """A picture of two colours, twice as wide as high, is one still when it is small."""
    s3 = aws("s3")
    rows = [bytes((255, 0, 0)) * 100 + bytes((0, 0, 255)) * 100 for _ in range(100)]
    key = "holiday/sea & sky.png"
    s3.put_object(Bucket=outputs["Pictures"], Key="notes.txt", Body=b"no picture")
    s3.put_object(Bucket=outputs["Pictures"], Key=key, Body=png["write"](200, 100, 2, rows))

    def made() -> Any:
        return s3.list_objects_v2(Bucket=outputs["Thumbnails"]).get("Contents")

    (thumbnail,) = within(made)
    assert key == thumbnail["Key"]
    answer = s3.get_object(Bucket=outputs["Thumbnails"], Key=key)
    assert ["image/png", True] == [answer["ContentType"], "Expiration" in answer]
    width, height, kind, small = png["read"](answer["Body"].read())
    assert (50, 25, 2) == (width, height, kind)
    assert [bytes((255, 0, 0)), bytes((0, 0, 255))] == [bytes(small[0][:3]), bytes(small[-1][-3:])]


def test_filters_of_rows_are_undone(png: dict[str, Any]) -> None:
    """Every way in which a PNG keeps differences gives the same picture."""
    row, above = bytes((10, 20, 30, 40)), bytes((1, 2, 3, 4))
    kept = {
        1: (10, 10, 10, 10),
        2: (9, 18, 27, 36),
        3: (10, 14, 19, 23),
        4: (9, 10, 10, 10),
    }
    for kind, differences in kept.items():
        data = bytes((0, *above, kind, *differences))
        header = struct.pack(">IIBBBBB", 4, 2, 8, 0, 0, 0, 0)
        picture = png["SIGNATURE"] + b"".join(
            struct.pack(">I", len(content)) + name + content + b"\0" * 4
            for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(data)))
        )
        assert row == bytes(png["read"](picture)[3][1]), kind


def test_what_is_no_picture_is_told(outputs: dict[str, str], aws: Callable[..., Any]) -> None:
    """After its retries a failure is in the queue, with the event that it was about."""
    functions = aws("lambda")
    functions.put_function_event_invoke_config(
        FunctionName=within(
            lambda: [
                one["FunctionName"]
                for one in functions.list_functions()["Functions"]
                if one["FunctionName"].startswith("thumbnails-Thumbnail")
            ]
        )[0],
        MaximumRetryAttempts=0,
        DestinationConfig={
            "OnFailure": {
                "Destination": aws("sqs").get_queue_attributes(
                    QueueUrl=outputs["FailedPictures"], AttributeNames=["QueueArn"]
                )["Attributes"]["QueueArn"]
            }
        },
    )
    aws("s3").put_object(Bucket=outputs["Pictures"], Key="bad.png", Body=b"no picture")
    got = aws("sqs").receive_message(QueueUrl=outputs["FailedPictures"], WaitTimeSeconds=20)
    failure = json.loads(got["Messages"][0]["Body"])
    (record,) = failure["requestPayload"]["Records"]
    assert "bad.png" == record["s3"]["object"]["key"]
    assert "ValueError" == failure["responsePayload"]["errorType"]
