"""Advanced logging controls: the format of a function's log, and the levels of what is in it."""

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.test_lambda_runtimes import OWN, installed_node

Aws = Callable[..., Any]
PYTHON = """
import logging
log = logging.getLogger()
def handler(event, context):
    print("printed")
    log.debug("a detail")
    log.info("told %s", "once")
    log.warning("careful", extra={"order": 7})
    if event.get("fail"):
        raise ValueError("as asked")
"""
NODE = """
export const handler = async (event) => {
  console.debug("a detail");
  console.log("told %s", "once");
  console.warn({ order: 7 });
  if (event.fail) throw new RangeError("as asked");
};
"""

PRINTED = {"python": 1, "nodejs": 0}
"""How many lines of an event are no documents."""


def runtime_of(family: str) -> str:
    return OWN if family == "python" else installed_node()


@pytest.fixture
def create(aws: Aws, role: str, unique: str) -> Iterator[Callable[..., str]]:
    """Create a function that logs; it is deleted in the end."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("index.py", PYTHON)
        archive.writestr("index.mjs", NODE)

    def new(runtime: str, **logging: str) -> str:
        aws("lambda").create_function(
            FunctionName=unique,
            Runtime=runtime,
            Role=role,
            Handler="index.handler",
            Code={"ZipFile": data.getvalue()},
            LoggingConfig=logging,
        )
        aws("lambda").get_waiter("function_active_v2").wait(FunctionName=unique)
        return unique

    yield new
    aws("lambda").delete_function(FunctionName=unique)


def logged(aws: Aws, name: str, wanted: int) -> list[str]:
    """The messages of a function's log, once there are so many."""
    deadline = time.monotonic() + 20
    while True:
        try:
            found = aws("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except aws("logs").exceptions.ResourceNotFoundException:
            found = []
        if len(found) >= wanted:
            return [event["message"] for event in found]
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def documents(messages: list[str]) -> list[Any]:
    return [json.loads(message) for message in messages if message.startswith("{")]


def types(found: list[Any]) -> list[str]:
    return [each["type"].partition(".")[2] for each in found if "type" in each]


@pytest.mark.parametrize("family", ["python", "nodejs"])
def test_json(aws: Aws, create: Callable[..., str], family: str) -> None:
    """Tools read these documents: members, levels and ids are those of AWS."""
    name = create(runtime_of(family), LogFormat="JSON")
    aws("lambda").invoke(FunctionName=name)
    found = documents(logged(aws, name, 5 + PRINTED[family]))
    assert ["initStart", "start", "report"] == types(found)
    report = found[-1]["record"]
    assert "success" == report["status"]
    assert {
        "durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB", "initDurationMs"
    } == report["metrics"].keys()  # fmt: skip
    own = [each for each in found if "type" not in each]
    assert [("INFO", "told once"), ("WARN", "careful" if family == "python" else {"order": 7})] == [
        (each["level"].replace("WARNING", "WARN"), each["message"]) for each in own
    ]
    assert all(each["requestId"] == report["requestId"] for each in own)
    if family == "python":
        assert 7 == own[1]["order"]


@pytest.mark.parametrize("family", ["python", "nodejs"])
def test_levels(aws: Aws, create: Callable[..., str], family: str) -> None:
    """The most detailed levels show every phase of an event, and the function's own details."""
    levels = {"ApplicationLogLevel": "DEBUG", "SystemLogLevel": "DEBUG"}
    name = create(runtime_of(family), LogFormat="JSON", **levels)
    aws("lambda").invoke(FunctionName=name, Payload='{"fail": 1}')
    found = documents(logged(aws, name, 10 + PRINTED[family]))
    assert ["initStart", "initRuntimeDone", "initReport", "start", "runtimeDone", "report"] == types(found)  # fmt: skip
    own = [each for each in found if "type" not in each]
    assert "a detail" == own[0]["message"]
    assert ("as asked", "ValueError" if family == "python" else "RangeError") == (
        own[-1]["errorMessage"],
        own[-1]["errorType"],
    )


def test_least_of_all(aws: Aws, create: Callable[..., str]) -> None:
    """The least detailed levels leave nothing but what was printed."""
    name = create(OWN, LogFormat="JSON", ApplicationLogLevel="FATAL", SystemLogLevel="WARN")
    answer = aws("lambda").invoke(FunctionName=name, LogType="Tail")
    assert 200 == answer["StatusCode"]
    assert ["printed"] == [message.strip() for message in logged(aws, name, 1)]


def test_configuration(aws: Aws, create: Callable[..., str]) -> None:
    """Levels have a default as soon as there are levels, and go with them."""
    name = create(OWN)
    lambda_ = aws("lambda")
    group = {"LogGroup": f"/aws/lambda/{name}"}

    def change(**logging: str) -> dict[str, str]:
        config = lambda_.update_function_configuration(FunctionName=name, LoggingConfig=logging)
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=name)
        return dict(config["LoggingConfig"])

    text = {"LogFormat": "Text", **group}
    assert text == lambda_.get_function_configuration(FunctionName=name)["LoggingConfig"]
    with pytest.raises(
        ClientError, match='LogLevel is not supported when LogFormat is set to "Text"'
    ):
        change(SystemLogLevel="DEBUG")
    default = {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"}
    assert {"LogFormat": "JSON", **default, **group} == change(LogFormat="JSON")
    assert {"LogFormat": "JSON", **default, "SystemLogLevel": "WARN", **group} == change(
        SystemLogLevel="WARN"
    )
    assert text == change(LogFormat="Text")
