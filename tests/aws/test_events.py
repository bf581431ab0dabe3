"""EventBridge: buses, rules, targets and PutEvents, as boto3 sees them."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.events_application import Bus

ORDERS = {"source": ["shop"], "detail-type": ["order"]}


@pytest.fixture
def bus(endpoint: str, connect: Callable[..., Any], unique: str) -> Bus:
    """A bus of the test's own."""
    return Bus(endpoint, connect, unique)


def error_of(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_an_event_reaches_the_queues_of_the_rules_that_match(bus: Bus) -> None:
    """Targets get AWS's envelope, its members in AWS's order, once for each rule and target."""
    (one, one_arn), (two, two_arn) = bus.queue("one"), bus.queue("two")
    bus.rule(ORDERS, {"Arn": one_arn}, {"Arn": two_arn})
    bus.rule({"detail": {"n": [{"numeric": [">", 5]}]}}, {"Arn": two_arn}, name="large")

    small = bus.put({"n": 1}, Resources=["arn:aws:s3:::b"], Time="2026-01-02T03:04:05.678Z")
    large = bus.put({"n": 9}, Source="elsewhere")

    (event,) = bus.bodies(one)
    assert {
        "version": "0",
        "id": small["EventId"],
        "detail-type": "order",
        "source": "shop",
        "account": "000000000000",
        "time": "2026-01-02T03:04:05Z",
        "region": "us-east-1",
        "resources": ["arn:aws:s3:::b"],
        "detail": {"n": 1},
    } == event
    assert ["version", "id", "detail-type", "source", "account", "time"] == list(event)[:6]
    assert {small["EventId"], large["EventId"]} == {found["id"] for found in bus.bodies(two)}


def test_a_message_for_a_fifo_queue_has_its_group(bus: Bus) -> None:
    """The queue has content-based deduplication, as AWS asks for."""
    url, arn = bus.queue("f", FifoQueue="true", ContentBasedDeduplication="true")
    bus.rule(ORDERS, {"Arn": arn, "SqsParameters": {"MessageGroupId": "g"}})

    bus.put()

    (message,) = bus.messages(url)
    assert "g" == message["Attributes"]["MessageGroupId"]


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:events:us-east-1:000000000000:rule/x",
        "arn:aws:events:us-east-1:000000000000:api-destination/gone",
        "arn:aws:execute-api:us-east-1:000000000000:abc/prod",
    ],
)
def test_a_target_that_can_never_be_called_is_refused(bus: Bus, arn: str) -> None:
    """Whoever makes the rule hears of it, and not the log when events come."""
    told = error_of(lambda: bus.rule(ORDERS, {"Arn": arn, "RoleArn": "arn:aws:iam::1:role/r"}))
    reason = f"Parameter {arn} is not valid. Reason: Provided Arn is not in correct format."
    assert ("ValidationException", reason) == told


def test_a_fifo_queue_without_a_group_is_refused(bus: Bus) -> None:
    """Its messages need a group, and an event has none of its own."""
    _, arn = bus.queue("f", FifoQueue="true", ContentBasedDeduplication="true")
    reason = "Parameter(s) SqsParameters must be specified for target: t0."
    assert ("ValidationException", reason) == error_of(lambda: bus.rule(ORDERS, {"Arn": arn}))


@pytest.mark.parametrize(
    ("entry", "code", "reason"),
    [
        (
            {"Source": ""},
            "InvalidArgument",
            "Parameter Source is not valid. Reason: Source is a required argument.",
        ),
        ({"Detail": "[]"}, "MalformedDetail", "Detail is malformed."),
        ({"Detail": "{"}, "MalformedDetail", "Detail is malformed."),
        ({"Detail": '{"a":"\\ud800"}'}, "MalformedDetail", "Detail is malformed."),
        ({"Detail": '{"a":1e999}'}, "MalformedDetail", "Detail is malformed."),
        ({"Detail": '{"a":' * 999 + "1" + "}" * 999}, "MalformedDetail", "Detail is malformed."),
        (
            {"Source": "aws.s3"},
            "NotAuthorizedForSourceException",
            "Not authorized for the source.",
        ),
    ],
)
def test_entries_fail_one_by_one(bus: Bus, entry: dict[str, str], code: str, reason: str) -> None:
    """An entry that is wrong is told in its place; its neighbours go their way."""
    url, arn = bus.queue()
    bus.rule(ORDERS, {"Arn": arn})
    right = {
        "Source": "shop",
        "DetailType": "order",
        "Detail": "{}",
        "EventBusName": bus.name,
    }

    answer = bus.events.put_events(Entries=[{**right, **entry}, right])

    assert 1 == answer["FailedEntryCount"]
    assert {"ErrorCode": code, "ErrorMessage": reason} == answer["Entries"][0]
    assert [answer["Entries"][1]["EventId"]] == [event["id"] for event in bus.bodies(url)]


def test_size_of_a_request(bus: Bus) -> None:
    """What is over the limit is refused as a whole."""
    assert (
        "ValidationException",
        "Total size of the entries in the request is over the limit.",
    ) == error_of(lambda: bus.put({"x": "y" * 1_048_576}))


def test_numbers_stay_what_they_are(bus: Bus) -> None:
    """Integers of any size, and what is a fraction."""
    url, arn = bus.queue()
    bus.rule({"detail": {"n": [2**70]}}, {"Arn": arn})
    bus.put({"n": 2**70, "m": 1.0})
    (message,) = bus.messages(url)
    assert '{"n":1180591620717411303424,"m":1.0}' in message["Body"]


def test_a_pattern_that_is_too_deep(bus: Bus) -> None:
    """Nesting beyond the interpreter's stack is the client's error, and no fault of ours."""
    deep = '{"a":' * 800 + "[1]" + "}" * 800
    code, _ = error_of(lambda: bus.events.put_rule(Name=bus.unique, EventPattern=deep[:4096]))
    assert "InvalidEventPatternException" == code


def test_rules_and_their_targets(bus: Bus) -> None:
    """A rule keeps its targets when it is put again, and goes only without them."""
    _, arn = bus.queue()
    rule = bus.rule(ORDERS, {"Arn": arn})
    where = {"EventBusName": bus.name}

    bus.events.put_rule(Name=rule, EventPattern='{"source":["x"]}', Description="d", **where)
    told = bus.events.describe_rule(Name=rule, **where)
    assert ('{"source":["x"]}', "d") == (told["EventPattern"], told["Description"])
    assert f"arn:aws:events:us-east-1:000000000000:rule/{bus.name}/{rule}" == told["Arn"]
    assert [rule] == bus.events.list_rule_names_by_target(TargetArn=arn, **where)["RuleNames"]
    assert ("ValidationException", "Rule can't be deleted since it has targets.") == error_of(
        lambda: bus.events.delete_rule(Name=rule, **where)
    )
    assert (
        "ValidationException",
        f"Event bus {bus.name} can't be deleted since it has rules.",
    ) == error_of(lambda: bus.events.delete_event_bus(Name=bus.name))
    bus.events.remove_targets(Rule=rule, Ids=["t0"], **where)
    bus.events.delete_rule(Name=rule, **where)
    assert (
        "ResourceNotFoundException",
        f"Rule {rule} does not exist on EventBus {bus.name}.",
    ) == error_of(lambda: bus.events.describe_rule(Name=rule, **where))


def test_a_disabled_rule_rests(bus: Bus) -> None:
    """It takes no events, and those that came meanwhile are not made up for."""
    url, arn = bus.queue()
    rule = bus.rule(ORDERS, {"Arn": arn})
    where = {"Name": rule, "EventBusName": bus.name}

    bus.events.disable_rule(**where)
    bus.put()
    bus.events.enable_rule(**where)
    bus.put({"n": 2})

    assert [2] == [event["detail"]["n"] for event in bus.bodies(url)]


@pytest.mark.parametrize(
    ("target", "code", "reason"),
    [
        ({"Arn": "arn:aws:ecs:us-east-1:000000000000:cluster/c"}, "NotImplemented", "cluster/c"),
        ({"Arn": "nonsense"}, "ValidationException", "Provided Arn is not in correct format."),
        (
            {"Input": "1", "InputPath": "$.detail"},
            "ValidationException",
            "Only one of Input, InputPath, or InputTransformer must be provided for target t0.",
        ),
        ({"Input": "{"}, "ValidationException", "JSON syntax error in Input for target t0."),
        (
            {"DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:dead.fifo"}},
            "ValidationException",
            "Parameter DeadLetterConfig.Arn is not valid.",
        ),
        (
            {"InputTransformer": {"InputTemplate": '"<nobody>"', "InputPathsMap": {}}},
            "ValidationException",
            "InputTemplate for target t0 contains invalid placeholder nobody.",
        ),
    ],
)
def test_targets_that_are_not_possible(
    bus: Bus, target: dict[str, Any], code: str, reason: str
) -> None:
    """What nobody here would take is refused when it is put, not when an event comes."""
    _, arn = bus.queue()
    rule = bus.rule(ORDERS)

    found, text = error_of(lambda: bus.target(rule, {"Arn": arn, **target}))

    assert code == found
    assert reason in text


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"Input": '{"constant":1}'}, '{"constant":1}'),
        ({"InputPath": "$.detail.who"}, '"Ann \\"A\\""'),
        ({"InputPath": "$.detail"}, '{"who":"Ann \\"A\\"","tags":["a","b"],"n":7}'),
        (
            {
                "InputTransformer": {
                    "InputPathsMap": {"who": "$.detail.who", "n": "$.detail.n", "no": "$.no"},
                    "InputTemplate": '{"who": <who>, "n": <n>, "in": "n is <n>", "no": <no>}',
                }
            },
            '{"who": "Ann \\"A\\"", "n": 7, "in": "n is 7", "no": ""}',
        ),
        (
            {
                "InputTransformer": {
                    "InputPathsMap": {"tags": "$.detail.tags", "no": "$.no"},
                    "InputTemplate": '"<tags> of <aws.events.rule-name><no>"',
                }
            },
            '"[a,b] of RULE"',
        ),
    ],
    ids=["constant", "text", "part", "document", "template"],
)
def test_inputs(bus: Bus, target: dict[str, Any], expected: str) -> None:
    """Constant, part or template: quotes are as AWS sets them."""
    url, arn = bus.queue()
    rule = bus.rule(ORDERS, {"Arn": arn, **target})

    bus.put({"who": 'Ann "A"', "tags": ["a", "b"], "n": 7})

    (message,) = bus.messages(url)
    assert expected.replace("RULE", rule) == message["Body"]


def test_policies_of_buses(bus: Bus) -> None:
    """Statements are added, replaced and removed by their id."""
    statement = {"EventBusName": bus.name, "Action": "events:PutEvents", "StatementId": "s"}
    bus.events.put_permission(**statement, Principal="111122223333")
    bus.events.put_permission(**statement, Principal="*")

    policy = json.loads(bus.events.describe_event_bus(Name=bus.name)["Policy"])
    assert [("s", "*", bus.arn)] == [
        (one["Sid"], one["Principal"], one["Resource"]) for one in policy["Statement"]
    ]
    bus.events.remove_permission(EventBusName=bus.name, StatementId="s")
    assert "Policy" not in bus.events.describe_event_bus(Name=bus.name)


def test_an_event_goes_from_bus_to_bus(bus: Bus, unique: str) -> None:
    """It stays the same event, with its id."""
    url, arn = bus.queue()
    second = bus.events.create_event_bus(Name=f"{unique}-2")["EventBusArn"]
    bus.rule(ORDERS, {"Arn": second, "RoleArn": "arn:aws:iam::000000000000:role/r"})
    rule = f"{unique}-2"
    bus.events.put_rule(Name=rule, EventBusName=second, EventPattern=json.dumps(ORDERS))
    bus.events.put_targets(Rule=rule, EventBusName=second, Targets=[{"Id": "q", "Arn": arn}])

    put = bus.put()

    found = bus.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
    assert put["EventId"] == json.loads(found[0]["Body"])["id"]


def test_tags(bus: Bus) -> None:
    """Buses and rules have tags."""
    rule = bus.rule(ORDERS)
    arn = bus.events.describe_rule(Name=rule, EventBusName=bus.name)["Arn"]
    for one in (bus.arn, arn):
        bus.events.tag_resource(ResourceARN=one, Tags=[{"Key": k, "Value": "1"} for k in "ab"])
        bus.events.untag_resource(ResourceARN=one, TagKeys=["a"])
        assert [{"Key": "b", "Value": "1"}] == bus.events.list_tags_for_resource(ResourceARN=one)[
            "Tags"
        ]


def test_an_event_becomes_a_log_event(bus: Bus, connect: Callable[..., Any]) -> None:
    """As it is, or as a transformer's instant and message say."""
    logs = connect(bus.endpoint, "logs")
    group = f"/aws/events/{bus.unique}"
    logs.create_log_group(logGroupName=group)
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": "*",
            }
        ],
    }
    logs.put_resource_policy(policyName=bus.unique, policyDocument=json.dumps(policy))
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{group}"
    transformer = {
        "InputPathsMap": {"at": "$.detail.at"},
        "InputTemplate": '{"timestamp": <at>, "message": "at <at>"}',
    }
    bus.rule(ORDERS, {"Arn": arn}, {"Arn": arn, "InputTransformer": transformer})

    now = int(time.time() * 1000)
    put = bus.put({"at": now})

    found = until(lambda: logs.filter_log_events(logGroupName=group)["events"], 2)
    (plain,) = [one for one in found if put["EventId"] in one["message"]]
    assert {"at": now} == json.loads(plain["message"])["detail"]
    assert (now, f"at {now}") in [(one["timestamp"], one["message"]) for one in found]
    logs.delete_resource_policy(policyName=bus.unique)


def until(look: Callable[[], list[Any]], count: int) -> list[Any]:
    """What there is once it is as many, however long that takes."""
    deadline = time.monotonic() + 30
    while len(found := look()) < count and time.monotonic() < deadline:
        pass
    return found
