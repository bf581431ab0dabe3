"""CloudWatch Logs, as boto3 sees it."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

Aws = Callable[..., Any]


@pytest.fixture
def logs(aws: Aws) -> Any:
    return aws("logs")


@pytest.fixture
def stream(logs: Any, unique: str) -> tuple[str, str]:
    """A new group with one stream."""
    logs.create_log_group(logGroupName=unique, tags={"team": "a"})
    logs.create_log_stream(logGroupName=unique, logStreamName="s/1")
    return unique, "s/1"


def put(logs: Any, group: str, stream: str, *messages: str) -> int:
    now = int(time.time() * 1000)
    events = [{"timestamp": now + n, "message": message} for n, message in enumerate(messages)]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    return now


def code_of(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_events_are_read_in_pages(logs: Any, stream: tuple[str, str]) -> None:
    """Tools follow nextForwardToken until it stays the same."""
    group, name = stream
    put(logs, group, name, "a", "b", "c")
    where = {"logGroupName": group, "logStreamName": name}
    first = logs.get_log_events(**where, startFromHead=True, limit=2)
    assert [event["message"] for event in first["events"]] == ["a", "b"]
    second = logs.get_log_events(**where, nextToken=first["nextForwardToken"])
    assert [event["message"] for event in second["events"]] == ["c"]
    third = logs.get_log_events(**where, nextToken=second["nextForwardToken"])
    assert third["events"] == []
    assert third["nextForwardToken"] == second["nextForwardToken"]
    back = logs.get_log_events(**where, nextToken=second["nextBackwardToken"])
    assert [event["message"] for event in back["events"]] == ["a", "b"]
    tail = logs.get_log_events(**where, limit=2)
    assert [event["message"] for event in tail["events"]] == ["b", "c"]


def test_search_merges_streams(logs: Any, stream: tuple[str, str]) -> None:
    """A function's log is spread over streams, and is searched as one."""
    group, name = stream
    logs.create_log_stream(logGroupName=group, logStreamName="s/2")
    put(logs, group, name, "error one", "fine", "warning three")
    put(logs, group, "s/2", "error two")
    found = logs.filter_log_events(logGroupName=group, filterPattern="error -two")
    assert [event["message"] for event in found["events"]] == ["error one"]
    either = logs.filter_log_events(logGroupName=group, filterPattern="?error ?warning", limit=2)
    assert len(either["events"]) == 2
    rest = logs.filter_log_events(
        logGroupName=group, filterPattern="?error ?warning", nextToken=either["nextToken"]
    )
    every = either["events"] + rest["events"]
    assert {event["message"] for event in every} == {"error one", "error two", "warning three"}
    phrase = logs.filter_log_events(
        logGroupName=group, filterPattern='"error two"', logStreamNamePrefix="s/"
    )
    assert [event["logStreamName"] for event in phrase["events"]] == ["s/2"]


def test_groups_and_streams_are_described(logs: Any, stream: tuple[str, str]) -> None:
    """Deployment tools find out by description whether to create."""
    group, name = stream
    now = put(logs, group, name, "x")
    (described,) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert described["arn"].endswith(f":log-group:{group}:*")
    (found,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert (found["logStreamName"], found["lastEventTimestamp"]) == (name, now)
    arn = described["logGroupArn"]
    logs.tag_resource(resourceArn=arn, tags={"more": "b"})
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "a", "more": "b"}
    logs.put_retention_policy(logGroupName=group, retentionInDays=7)
    (described,) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert described["retentionInDays"] == 7


def test_errors(logs: Any, stream: tuple[str, str]) -> None:
    """The texts were recorded from AWS; clients match on them."""
    group, name = stream
    assert code_of(lambda: logs.create_log_group(logGroupName=group)) == (
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )
    assert code_of(lambda: logs.create_log_stream(logGroupName=group, logStreamName=name)) == (
        "ResourceAlreadyExistsException",
        "The specified log stream already exists",
    )
    assert code_of(lambda: logs.delete_log_group(logGroupName=f"{group}-not")) == (
        "ResourceNotFoundException",
        "The specified log group does not exist.",
    )
    late_first = [{"timestamp": int(time.time() * 1000) - n, "message": "m"} for n in range(2)]
    assert code_of(
        lambda: logs.put_log_events(logGroupName=group, logStreamName=name, logEvents=late_first)
    ) == (
        "InvalidParameterException",
        "Log events in a single PutLogEvents request must be in chronological order.",
    )


def test_deleting_a_group_forgets_its_events(logs: Any, stream: tuple[str, str]) -> None:
    """A group of the same name begins empty."""
    group, name = stream
    put(logs, group, name, "old")
    logs.delete_log_group(logGroupName=group)
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=name)
    assert logs.get_log_events(logGroupName=group, logStreamName=name)["events"] == []


def test_search_pages_over_streams(logs: Any, stream: tuple[str, str]) -> None:
    """Pages of a search join up in order of time, also where streams have events of one instant."""
    group, name = stream
    logs.create_log_stream(logGroupName=group, logStreamName="s/2")
    now = int(time.time() * 1000)
    for each in (name, "s/2"):
        events = [{"timestamp": now + n // 2, "message": f"{each} {n}"} for n in range(40)]
        logs.put_log_events(logGroupName=group, logStreamName=each, logEvents=events)
    paginator = logs.get_paginator("filter_log_events")
    pages = paginator.paginate(
        logGroupName=group, startTime=now + 5, endTime=now + 15, PaginationConfig={"PageSize": 7}
    )
    found = [(e["timestamp"], e["message"]) for page in pages for e in page["events"]]
    expected = [
        (now + at, f"{each} {n}")
        for at in range(5, 15)
        for each in (name, "s/2")
        for n in (2 * at, 2 * at + 1)
    ]
    assert expected == found


def test_search_says_that_there_is_more(logs: Any, stream: tuple[str, str]) -> None:
    """A page looks at so many events; one that is further on is found by following the token."""
    group, name = stream
    now = int(time.time() * 1000)
    for first in (0, 9000):
        events = [{"timestamp": now + first + n, "message": "fine"} for n in range(9000)]
        logs.put_log_events(logGroupName=group, logStreamName=name, logEvents=events)
    last = [{"timestamp": now + 18_000, "message": "error"}]
    logs.put_log_events(logGroupName=group, logStreamName=name, logEvents=last)
    first_page = logs.filter_log_events(logGroupName=group, filterPattern="error")
    assert [] == first_page["events"]
    rest = logs.filter_log_events(
        logGroupName=group, filterPattern="error", nextToken=first_page["nextToken"]
    )
    assert (["error"], False) == ([e["message"] for e in rest["events"]], "nextToken" in rest)


def test_tokens_that_are_none(logs: Any, stream: tuple[str, str]) -> None:
    """What a client makes up is the client's mistake."""
    group, name = stream
    invalid = ("InvalidParameterException", "The specified nextToken is invalid.")
    for token in ("x", "f/" + "9" * 56 + "/s"):
        where = {"logGroupName": group, "nextToken": token}
        assert invalid == code_of(lambda w=where: logs.get_log_events(**w, logStreamName=name))
        assert invalid == code_of(lambda w=where: logs.filter_log_events(**w))
        assert invalid == code_of(lambda w=where: logs.describe_log_streams(**w))
