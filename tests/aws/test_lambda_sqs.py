"""Event source mappings from SQS: batches, order, filters, partial failures, visibility, states, and what goes wrong."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.aws.lambda_application import Application, until

# Tells a queue of every batch; a body that is a document with `fail` fails alone, one with `raise` fails them all.
CONSUMER = """
import json, os, time
import boto3

sqs = boto3.client("sqs")

def handler(event, context):
    records = event["Records"]
    bodies = [record["body"] for record in records]
    documents = [json.loads(body) if body.startswith("{") else {} for body in bodies]
    counts = [record["attributes"]["ApproximateReceiveCount"] for record in records]
    told = {"bodies": bodies if sum(map(len, bodies)) < 1000 else len(bodies), "counts": sorted(set(counts)), "size": len(json.dumps(event))}
    sqs.send_message(QueueUrl=os.environ["TOLD"], MessageBody=json.dumps(told))
    time.sleep(max([0] + [document.get("sleep", 0) for document in documents]))
    if any("raise" in document for document in documents):
        raise ValueError("on purpose")
    return {"batchItemFailures": [
        {"itemIdentifier": record["messageId"]}
        for record, document in zip(records, documents) if document.get("fail")]}
"""
RETURNS = """
import json, os

def handler(event, context):
    answer = json.loads(os.environ["ANSWER"])
    first = event["Records"][0]["messageId"]
    return json.loads(json.dumps(answer).replace("FIRST", first))
"""
SENDS_BACK = """
import os
import boto3

def handler(event, context):
    for record in event["Records"]:
        boto3.client("sqs").send_message(QueueUrl=os.environ["TOLD"], MessageBody=record["body"])
"""
PARTIAL = ["ReportBatchItemFailures"]


@pytest.fixture
def flowing(endpoint: str, connect: Callable[..., Any], unique: str) -> Application:
    """An application in the machine's time, for functions that take time."""
    return Application(endpoint, connect, unique)


def consumer(application: Application, suffix: str = "f", **options: Any) -> tuple[str, str]:
    """The ARN of a consumer, and the URL of the queue that it tells."""
    told, _ = application.queue(f"told-{suffix}")
    environment = {"Variables": {"TOLD": told}}
    return application.function(CONSUMER, suffix, Environment=environment, **options), told


def test_window_size_and_partial_failure(application: Application) -> None:
    """A batch waits for its window or until it is full, and only what failed in it comes back."""
    function, told = consumer(application)
    url, queue = application.queue(VisibilityTimeout="60")
    application.feed(
        queue,
        function,
        BatchSize=4,
        MaximumBatchingWindowInSeconds=20,
        FunctionResponseTypes=PARTIAL,
    )
    application.send(url, "a", '{"fail": 1}', "c")
    application.advance(19)
    assert [] == application.bodies(told)
    application.advance(1)
    (batch,) = application.bodies(told)
    assert ["a", "c", '{"fail": 1}'] == sorted(batch["bodies"])
    assert (0, 1) == application.counts(url)

    application.send(url, *"defg")
    application.advance(0)
    (batch,) = application.bodies(told)
    assert [*"defg"] == sorted(batch["bodies"])

    application.advance(60)
    (batch,) = application.bodies(told)
    assert (['{"fail": 1}'], ["2"]) == (batch["bodies"], batch["counts"])


def test_large_batch_is_within_six_megabytes(flowing: Application) -> None:
    """What a function gets is within Lambda's limit, metadata and quotes included, however large the batch may be."""
    function, told = consumer(flowing)
    url, queue = flowing.queue()
    body = json.dumps({"text": '"' * 200_000})
    flowing.send(url, *[body] * 20)
    flowing.feed(queue, function, BatchSize=10_000, MaximumBatchingWindowInSeconds=1)
    batches: list[Any] = []

    def all_there() -> bool:
        batches.extend(flowing.bodies(told))
        return sum(batch["bodies"] for batch in batches) == 20

    until(all_there)
    assert max(batch["size"] for batch in batches) <= 6 * 1024 * 1024
    assert len(batches) >= 3
    assert {("1",)} == {tuple(batch["counts"]) for batch in batches}
    until(lambda: flowing.counts(url) == (0, 0))


def test_thousands_in_one_batch(application: Application) -> None:
    """Many small messages that came within the window are one event."""
    function, told = consumer(application, MemorySize=256)
    url, queue = application.queue()
    application.feed(queue, function, BatchSize=10_000, MaximumBatchingWindowInSeconds=5)
    for number in range(200):
        entries = [{"Id": str(n), "MessageBody": str(number)} for n in range(10)]
        application.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    application.advance(6)
    (batch,) = application.bodies(told)
    assert 2_000 == batch["bodies"]
    assert (0, 0) == application.counts(url)


def test_fifo_keeps_order_under_failure(application: Application) -> None:
    """A failing group comes back from where it failed, in order, and holds up no other group."""
    function, told = consumer(application)
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "30"}
    url, queue = application.queue("q.fifo", **fifo)
    for number in range(4):
        application.send(url, json.dumps({"a": number, "raise": 1}), MessageGroupId="a")
        application.send(url, json.dumps({"b": number}), MessageGroupId="b")
    application.feed(queue, function, BatchSize=2)
    application.advance(0)
    seen = [[json.loads(body) for body in batch["bodies"]] for batch in application.bodies(told)]
    ours = [[document["a"] for document in batch] for batch in seen if "a" in batch[0]]
    others = [document["b"] for batch in seen if "b" in batch[0] for document in batch]
    assert [[0, 1]] == ours
    assert [0, 1, 2, 3] == others

    application.advance(30)
    (again,) = application.bodies(told)
    assert [0, 1] == [json.loads(body)["a"] for body in again["bodies"]]
    assert ["2"] == again["counts"]


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ({"body": {"kind": ["order"]}}, '{"kind": "order"}', '{"kind": "refund"}'),
        ({"body": {"n": [{"numeric": [">", 5, "<=", 9]}]}}, '{"n": 9}', '{"n": 5}'),
        ({"body": {"a": {"b": [{"exists": False}]}}}, '{"a": {"c": 1}}', '{"a": {"b": 1}}'),
        ({"body": {"a": [{"anything-but": {"prefix": "x"}}]}}, '{"a": "yx"}', '{"a": "xy"}'),
        ({"body": {"a": [{"wildcard": "*.jpg"}]}}, '{"a": "x.jpg"}', '{"a": "x.png"}'),
        ({"body": {"$or": [{"a": [1]}, {"b": [2]}]}}, '{"b": 2}', '{"b": 1}'),
        ({"body": {"a": [{"equals-ignore-case": "YES"}]}}, '{"a": "yes"}', '{"a": "no"}'),
        ({"body": {"ip": [{"cidr": "10.0.0.0/8"}]}}, '{"ip": "10.1.2.3"}', '{"ip": "11.1.2.3"}'),
        ({"body": ["plain text"]}, "plain text", "other text"),
        ({"body": ["plain text"]}, "plain text", '{"plain": "text"}'),
        ({"body": {"a": [1]}}, '{"a": 1}', "plain text"),
    ],
)
def test_filter_criteria(
    application: Application, pattern: dict[str, Any], matching: str, other: str
) -> None:
    """Only what matches reaches the function; what does not is deleted, as AWS does."""
    function, told = consumer(application)
    url, queue = application.queue()
    application.send(url, matching, other)
    application.feed(
        queue, function, FilterCriteria={"Filters": [{"Pattern": json.dumps(pattern)}]}
    )
    application.advance(0)
    assert [[matching]] == [batch["bodies"] for batch in application.bodies(told)]
    assert (0, 0) == application.counts(url)


def test_any_of_the_filters(application: Application) -> None:
    """Filters are alternatives; attributes can be asked for as well; new ones are in force at once."""
    function, told = consumer(application)
    url, queue = application.queue()
    patterns = ['{"body": {"a": [1]}}', '{"messageAttributes": {"k": {"stringValue": ["v"]}}}']
    filters = {"Filters": [{"Pattern": pattern} for pattern in patterns]}
    uuid = application.feed(queue, function, BatchSize=1, FilterCriteria=filters)
    attributes = {"k": {"DataType": "String", "StringValue": "v"}}
    application.send(url, '{"a": 1}', "neither")
    application.send(url, "attribute", MessageAttributes=attributes)
    application.advance(0)
    assert [["attribute"], ['{"a": 1}']] == sorted(b["bodies"] for b in application.bodies(told))

    application.functions.update_event_source_mapping(UUID=uuid, FilterCriteria={"Filters": []})
    application.send(url, "neither")
    application.advance(0)
    assert [["neither"]] == [batch["bodies"] for batch in application.bodies(told)]


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        (None, 0),
        ("", 0),
        ({}, 0),
        ({"batchItemFailures": None}, 0),
        ({"batchItemFailures": []}, 0),
        ({"batchItemFailures": [{"itemIdentifier": "FIRST"}]}, 1),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, 2),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, 2),
        ({"batchItemFailures": [{"itemIdentifier": "unknown"}]}, 2),
        ({"batchItemFailures": [{"itemIdentifier": "FIRST"}, {"itemIdentifier": "FIRST"}]}, 2),
        ({"batchItemFailures": [{"ItemIdentifier": "FIRST"}]}, 2),
        ({"batchItemFailures": ["FIRST"]}, 2),
        ({"batchItemFailures": "FIRST"}, 2),
        ([], 2),
        ("text", 2),
    ],
)
def test_partial_batch_responses(application: Application, answer: Any, left: int) -> None:
    """A malformed answer must not delete a message that was not processed: the whole batch fails."""
    environment = {"Variables": {"ANSWER": json.dumps(answer)}}
    function = application.function(RETURNS, Environment=environment)
    url, queue = application.queue()
    application.send(url, "a", "b")
    application.feed(queue, function, FunctionResponseTypes=PARTIAL)
    application.advance(0)
    assert (0, left) == application.counts(url)


def test_throttled_batch_is_held_then_given_back(application: Application) -> None:
    """A function without a free place: its batch waits inside the visibility timeout, then counts as received again."""
    function, told = consumer(application)
    url, queue = application.queue(VisibilityTimeout="60")
    application.functions.put_function_concurrency(
        FunctionName=function, ReservedConcurrentExecutions=0
    )
    application.feed(queue, function)
    application.send(url, "a")
    application.advance(5)
    assert (0, 1) == application.counts(url)
    application.functions.delete_function_concurrency(FunctionName=function)
    application.advance(20)
    (batch,) = application.bodies(told)
    assert ["1"] == batch["counts"]

    application.functions.put_function_concurrency(
        FunctionName=function, ReservedConcurrentExecutions=0
    )
    application.send(url, "b")
    application.advance(61)
    application.functions.delete_function_concurrency(FunctionName=function)
    application.advance(60)
    (batch,) = application.bodies(told)
    assert ["2"] == batch["counts"]


def test_throttling_leads_to_the_dead_letter_queue(application: Application) -> None:
    """Messages that a throttled function never takes are received too often in the end: so it is on AWS."""
    function, told = consumer(application)
    dead, dead_arn = application.queue("dead")
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": "2"})
    url, queue = application.queue(VisibilityTimeout="30", RedrivePolicy=redrive)
    application.functions.put_function_concurrency(
        FunctionName=function, ReservedConcurrentExecutions=0
    )
    application.feed(queue, function)
    application.send(url, "a")
    application.advance(100)
    assert ["a"] == [message["Body"] for message in application.messages(dead)]
    assert [] == application.bodies(told)


def test_visibility_outlasts_window_and_function(application: Application) -> None:
    """Where window and timeout exceed the visibility timeout, messages are hidden for both and thirty seconds more."""
    function, told = consumer(application, Timeout=20)
    url, queue = application.queue(VisibilityTimeout="30")
    application.feed(queue, function, MaximumBatchingWindowInSeconds=25)
    application.send(url, '{"raise": 1}')
    application.advance(25)
    assert 1 == len(application.bodies(told))
    # Received at 0 s, hidden until 25 + 20 + 30 s.
    application.advance(49)
    assert (0, 1) == application.counts(url)
    application.advance(26)
    (batch,) = application.bodies(told)
    assert ["2"] == batch["counts"]


def test_states(flowing: Application) -> None:
    """A mapping tells where it is, also while a batch that began before is still in flight."""
    functions = flowing.functions
    function, told = consumer(flowing)
    url, queue = flowing.queue()
    created = functions.create_event_source_mapping(
        EventSourceArn=queue, FunctionName=function, Enabled=False
    )
    uuid = created["UUID"]
    assert ("Disabled", "USER_INITIATED") == (created["State"], created["StateTransitionReason"])
    assert "LastProcessingResult" not in created
    assert "Disabled" == flowing.state(uuid)
    enabled = functions.update_event_source_mapping(UUID=uuid, Enabled=True)
    assert ("Enabling", "Enabled") == (enabled["State"], flowing.state(uuid))
    changed = functions.update_event_source_mapping(UUID=uuid, BatchSize=1)
    assert ("Updating", "Enabled", 1) == (
        changed["State"],
        flowing.state(uuid),
        changed["BatchSize"],
    )

    flowing.send(url, '{"sleep": 1}')
    flowing.wait_for_bodies(told, 1)
    disabled = functions.update_event_source_mapping(UUID=uuid, Enabled=False)
    assert ("Disabling", "Disabling") == (disabled["State"], flowing.state(uuid))
    flowing.send(url, "later")
    until(lambda: flowing.state(uuid) == "Disabled")
    assert (1, 0) == flowing.counts(url)

    functions.update_event_source_mapping(UUID=uuid, Enabled=True)
    flowing.send(url, '{"sleep": 1}')
    flowing.wait_for_bodies(told, 2)
    deleted = functions.delete_event_source_mapping(UUID=uuid)
    assert ("Deleting", "Deleting") == (deleted["State"], flowing.state(uuid))
    until(lambda: flowing.state(uuid) == "")


def test_function_deleted(application: Application) -> None:
    """Messages are not received in vain while there is no function; one of the same name goes on with them."""
    function, told = consumer(application)
    url, queue = application.queue()
    uuid = application.feed(queue, function)
    application.functions.delete_function(FunctionName=function)
    application.send(url, "a")
    application.advance(300)
    assert ((1, 0), "Enabled") == (application.counts(url), application.state(uuid))
    application.function(CONSUMER, Environment={"Variables": {"TOLD": told}})
    application.advance(60)
    (batch,) = application.bodies(told)
    assert ["1"] == batch["counts"]


def test_queue_deleted(application: Application) -> None:
    """A mapping outlives its queue, and feeds from the next one of that name."""
    function, told = consumer(application)
    url, queue = application.queue()
    uuid = application.feed(queue, function)
    application.sqs.delete_queue(QueueUrl=url)
    application.advance(100)
    assert "Enabled" == application.state(uuid)
    url, _ = application.queue()
    application.send(url, "a")
    application.advance(60)
    assert [["a"]] == [batch["bodies"] for batch in application.bodies(told)]


def test_slow_function_delays_no_other(flowing: Application) -> None:
    """Mappings run apart: one whose batches all take long leaves the others their pace."""
    slow, slow_told = consumer(flowing, "slow")
    quick, quick_told = consumer(flowing, "quick")
    slow_url, slow_queue = flowing.queue("slow")
    quick_url, quick_queue = flowing.queue("quick")
    flowing.feed(slow_queue, slow, BatchSize=1)
    flowing.feed(quick_queue, quick, BatchSize=1)
    flowing.send(quick_url, "warm")
    flowing.wait_for_bodies(quick_told, 1)
    flowing.send(slow_url, *['{"sleep": 5}'] * 8)
    flowing.wait_for_bodies(slow_told, 5)
    began = time.monotonic()
    for _ in range(5):
        flowing.send(quick_url, "a")
        flowing.wait_for_bodies(quick_told, 1)
    assert time.monotonic() - began < 3


def test_places_grow_with_the_backlog(flowing: Application) -> None:
    """Five batches at once at first, more while messages wait: AWS's curve."""
    function, _ = consumer(flowing)
    url, queue = flowing.queue()
    flowing.send(url, *['{"sleep": 6}'] * 12)
    flowing.feed(queue, function, BatchSize=1)
    until(lambda: flowing.counts(url)[1] >= 5)
    until(lambda: flowing.counts(url)[1] >= 8)


def test_maximum_concurrency(flowing: Application) -> None:
    """No more batches than the mapping allows are in flight, also right after the limit was lowered."""
    function, told = consumer(flowing)
    url, queue = flowing.queue()
    flowing.send(url, *['{"sleep": 0.4}'] * 12)
    uuid = flowing.feed(queue, function, BatchSize=1, ScalingConfig={"MaximumConcurrency": 3})
    found: list[Any] = []
    in_flight: list[int] = []

    def told_of(count: int) -> bool:
        in_flight.append(flowing.counts(url)[1])
        found.extend(flowing.bodies(told))
        return len(found) >= count

    until(lambda: told_of(6))
    assert 3 == max(in_flight)
    flowing.functions.update_event_source_mapping(
        UUID=uuid, ScalingConfig={"MaximumConcurrency": 2}
    )
    until(lambda: flowing.counts(url)[1] <= 2)
    in_flight.clear()
    until(lambda: told_of(12))
    assert 2 == max(in_flight)


def test_changes_while_running(application: Application) -> None:
    """Another function, another size: from the next batch on."""
    first, first_told = consumer(application, "first")
    second, second_told = consumer(application, "second")
    url, queue = application.queue()
    uuid = application.feed(queue, first, BatchSize=10)
    application.send(url, "a")
    application.advance(0)
    application.functions.update_event_source_mapping(UUID=uuid, FunctionName=second, BatchSize=1)
    application.send(url, "b", "c")
    application.advance(0)
    assert [["a"]] == [batch["bodies"] for batch in application.bodies(first_told)]
    assert [["b"], ["c"]] == sorted(batch["bodies"] for batch in application.bodies(second_told))


def test_endless_recursion_is_stopped(application: Application) -> None:
    """A function that sends its messages back to its own queue is stopped; the message ends in the dead-letter queue."""
    dead, dead_arn = application.queue("dead")
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": "1"})
    url, queue = application.queue(RedrivePolicy=redrive)
    function = application.function(SENDS_BACK, Environment={"Variables": {"TOLD": url}})
    application.feed(queue, function)
    application.send(url, "round")
    application.advance(100)
    assert ["round"] == [message["Body"] for message in application.messages(dead)]
    assert (0, 0) == application.counts(url)


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ({"BatchSize": 11}, "InvalidParameterValueException", "Maximum batch window in seconds"),
        (
            {"FilterCriteria": {"Filters": [{"Pattern": '{"body": "text"}'}]}},
            "InvalidParameterValueException",
            "Invalid filter pattern definition.",
        ),
        ({"FunctionName": "missing"}, "InvalidParameterValueException", "Function does not exist"),
        (
            {"StartingPosition": "LATEST"},
            "InvalidParameterValueException",
            "StartingPosition is not valid for SQS event sources.",
        ),
        (
            {"ProvisionedPollerConfig": {"MinimumPollers": 2}},
            "NotImplemented",
            "ProvisionedPollerConfig",
        ),
    ],
)
def test_create_refuses(
    application: Application, options: dict[str, Any], code: str, text: str
) -> None:
    """What no mapping can be is refused when it is asked for, in AWS's words."""
    function, _ = consumer(application)
    _, queue = application.queue()
    with pytest.raises(application.functions.exceptions.ClientError) as refused:
        application.functions.create_event_source_mapping(
            **{"EventSourceArn": queue, "FunctionName": function, **options}
        )
    error = refused.value.response["Error"]
    assert code == error["Code"]
    assert text in error["Message"]


def test_queues_have_no_destinations(application: Application) -> None:
    """What failed goes to the queue's dead letters; a mapping cannot be given, nor updated to, another place."""
    function, _ = consumer(application)
    _, queue = application.queue()
    functions = application.functions
    elsewhere = {"DestinationConfig": {"OnFailure": {"Destination": queue}}}
    with pytest.raises(functions.exceptions.InvalidParameterValueException):
        functions.create_event_source_mapping(
            EventSourceArn=queue, FunctionName=function, **elsewhere
        )
    made = functions.create_event_source_mapping(EventSourceArn=queue, FunctionName=function)
    with pytest.raises(functions.exceptions.InvalidParameterValueException):
        functions.update_event_source_mapping(UUID=made["UUID"], **elsewhere)
