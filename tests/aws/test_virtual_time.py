"""Time and faults as a product: a whole Penstock whose clock and deliveries a test steers."""

import io
import json
import sys
import urllib.error
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server

SIX_HOURS = 6 * 3600


class Application:
    """An echo function whose events are told to a queue, whether they succeed or fail."""

    def __init__(self, server: Server, connect: Callable[..., Any]) -> None:
        self.server = server
        self.sqs = connect(server.endpoint, "sqs")
        self.functions = connect(server.endpoint, "lambda")
        iam = connect(server.endpoint, "iam")
        role = iam.create_role(
            RoleName="r", AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[]}'
        )["Role"]["Arn"]
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            archive.writestr("main.py", "def handler(event, context):\n    return event\n")
        self.url = self.sqs.create_queue(QueueName="told")["QueueUrl"]
        queue = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        self.queue = queue["Attributes"]["QueueArn"]
        self.arn = self.functions.create_function(
            FunctionName="echo",
            Runtime=f"python3.{sys.version_info.minor}",
            Role=role,
            Handler="main.handler",
            Code={"ZipFile": package.getvalue()},
        )["FunctionArn"]
        told = {"Destination": self.queue}
        self.functions.put_function_event_invoke_config(
            FunctionName="echo", DestinationConfig={"OnSuccess": told, "OnFailure": told}
        )

    def send(self, number: int) -> None:
        payload = json.dumps({"n": number}).encode()
        self.functions.invoke(FunctionName="echo", InvocationType="Event", Payload=payload)

    def told(self) -> list[dict[str, Any]]:
        """The records that have come, in order."""
        found = []
        while messages := self.sqs.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, VisibilityTimeout=43_200
        ).get("Messages"):
            found += [json.loads(message["Body"]) for message in messages]
        return found


@pytest.fixture
def application(launch: Callable[..., Server], connect: Callable[..., Any]) -> Application:
    return Application(launch(":memory:"), connect)


def test_clock_stands_moves_and_flows(application: Application) -> None:
    """A frozen clock moves only when it is told to, and what is due then has happened when the answer comes."""
    server, sqs = application.server, application.sqs
    frozen = server.steer("clock", {"freeze": True})
    assert frozen["frozen"] is True
    assert server.steer("clock")["now"] == frozen["now"]
    sqs.send_message(QueueUrl=application.url, MessageBody="late", DelaySeconds=900)
    assert server.steer("clock", {"advance": 899})["now"] == frozen["now"] + 899_000
    assert "Messages" not in sqs.receive_message(QueueUrl=application.url)
    server.steer("clock", {"advance": 1})
    assert len(sqs.receive_message(QueueUrl=application.url)["Messages"]) == 1
    assert server.steer("clock", {"resume": True})["now"] >= frozen["now"] + 900_000


def test_flowing_time_is_not_advanced(application: Application) -> None:
    """To move a clock that runs by itself is an error that says what to do."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        application.server.steer("clock", {"advance": 1})
    assert "freeze" in json.load(refused.value)["message"]


def test_six_hours_of_throttling(application: Application) -> None:
    """A throttled event is retried for six hours, then told to the failure destination with AWS's condition."""
    server = application.server
    server.steer("faults", {"faults": [{"arn": application.arn, "fault": "throttle"}]})
    server.steer("clock", {"freeze": True})
    application.send(1)
    server.steer("clock", {"advance": SIX_HOURS - 400})
    assert application.told() == []
    server.steer("clock", {"advance": 400})
    (record,) = application.told()
    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert record["requestContext"]["approximateInvokeCount"] == 0


def _order(server: Server, connect: Callable[..., Any]) -> list[int]:
    application = Application(server, connect)
    fault = {"arn": application.arn, "fault": "throttle", "probability": 0.7, "seed": 7}
    server.steer("faults", {"faults": [fault]})
    server.steer("clock", {"freeze": True})
    for number in range(20):
        application.send(number)
        server.steer("clock", {"advance": 1})
    server.steer("clock", {"advance": SIX_HOURS})
    return [record["requestPayload"]["n"] for record in application.told()]


def test_a_restart_goes_on_where_the_clock_was_steered_to(
    launch: Callable[..., Server], connect: Callable[..., Any], tmp_path: Path
) -> None:
    """Otherwise what was stored an hour ahead would be hidden for an hour."""
    server = launch(tmp_path)
    sqs = connect(server.endpoint, "sqs")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    begun = server.steer("clock")["now"]
    server.steer("clock", {"freeze": True})
    server.steer("clock", {"advance": 3600})
    sqs.send_message(QueueUrl=url, MessageBody="while it stands")
    server.kill()
    server.start()
    server.steer("clock", {"freeze": True})
    server.steer("clock", {"resume": True})
    sqs.send_message(QueueUrl=url, MessageBody="while it flows")
    server.stop()
    server.start()
    told = server.steer("clock")
    assert told["frozen"] is False
    assert told["now"] >= begun + 3_600_000
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert sorted(one["Body"] for one in received) == ["while it flows", "while it stands"]


def test_same_seed_same_run(launch: Callable[..., Server], connect: Callable[..., Any]) -> None:
    """Two runs of the same faults from the same seed happen alike: retries come in the same order."""
    first, second = (_order(launch(":memory:", "--seed", "1"), connect) for _ in range(2))
    assert sorted(first) == list(range(20))
    assert first != sorted(first)
    assert second == first


def test_lost_acknowledgement_and_duplicate(application: Application) -> None:
    """What the network may do to a delivery can be made to happen: the function runs again."""
    server = application.server
    server.steer("clock", {"freeze": True})
    faults = [{"arn": application.arn, "fault": "lose-acknowledgement", "probability": 1}]
    server.steer("faults", {"faults": faults})
    application.send(1)
    server.steer("clock", {"advance": 1})
    assert application.told() == []
    assert server.steer("faults", {"faults": []}) == {"faults": []}
    server.steer("clock", {"advance": 3600})
    (record,) = application.told()
    assert record["requestContext"]["approximateInvokeCount"] == 2


def test_crash_between_delivery_and_settling(
    launch: Callable[..., Server], connect: Callable[..., Any], tmp_path: Any
) -> None:
    """An event whose function has run when the process dies runs once more after the restart: at least once."""
    server = launch(tmp_path)
    application = Application(server, connect)
    server.steer("faults", {"faults": [{"arn": application.arn, "fault": "crash"}]})
    application.send(1)
    server.process.wait(20)
    server.start()
    server.steer("clock", {"freeze": True})
    server.steer("clock", {"advance": 3600})
    (record,) = application.told()
    assert record["requestContext"]["approximateInvokeCount"] == 2


_QUEUE = "arn:aws:sqs:us-east-1:000000000000:"


@pytest.mark.parametrize(
    ("what", "document", "told"),
    [
        ("clock", {"advance": -1}, "0 or more"),
        ("clock", {"advance": True}, "a number"),
        ("clock", {"advance": "60"}, "a number"),
        ("clock", {"advance": 1e18}, "the year 3000"),
        ("clock", {"freeze": 1}, "give"),
        ("clock", {"freeze": True, "advance": 1}, "give"),
        ("faults", {"faults": ["throttle"]}, "give"),
        ("faults", {"faults": [{"arn": 7, "fault": "delay"}]}, "an arn is a text"),
        ("faults", {"faults": [{"arn": "a", "fault": "magic"}]}, "magic"),
        ("faults", {"faults": [{"arn": "a", "fault": "delay", "probability": 2}]}, "probability"),
        (
            "faults",
            {"faults": [{"arn": "a", "fault": "delay", "probability": True}]},
            "probability",
        ),
        ("faults", {"faults": [{"arn": "a", "fault": "delay", "delay": 1e18}]}, "delay"),
        ("faults", {"faults": [{"arn": "a", "fault": "delay", "seed": True}]}, "seed"),
        ("faults", {"faults": [{"arn": "a", "fault": "delay", "sed": 2}]}, "sed"),
        ("faults", {"faults": [{"arn": "arn:x", "fault": "delay"}]}, "arn:x is no ARN"),
        ("faults", {"faults": [{"arn": _QUEUE + "nowhere", "fault": "delay"}]}, "does not exist"),
    ],
)
def test_nonsense_is_refused(frozen: Server, what: str, document: Any, told: str) -> None:
    """A misspelt fault must not be a fault that never happens; each refusal says what is wrong."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        frozen.steer(what, document)
    assert refused.value.code == 400
    assert told in json.load(refused.value)["message"]


_NOBODY = [
    "lambda:us-east-1:000000000000:function:tpyo",
    "lambda:us-east-1:000000000000:function:echo:tpyo",
    "lambda:us-west-2:000000000000:function:echo",
    "lambda:us-east-1:000000000000:event-source-mapping:0d8c5a4c-9ef5-4b4c-8c2e-1b1a1f2d3e4f",
    "lambda:us-east-1:000000000000:layer:echo",
    "dynamodb:us-east-1:000000000000:table/orders",
    "sns:us-east-1:000000000000:told",
    "sns:us-east-1:000000000000:told:0d8c5a4c-9ef5-4b4c-8c2e-1b1a1f2d3e4f",
    "events:us-east-1:000000000000:rule/tpyo",
    "events:us-east-1:000000000000:rule/bus/tpyo",
    "events:us-east-1:000000000000:event-bus/tpyo",
    "scheduler:us-east-1:000000000000:schedule/default/tpyo",
    "pipes:us-east-1:000000000000:pipe/tpyo",
    "s3:::tpyo-that-nobody-made",
]


def test_a_fault_needs_somebody_to_hit(application: Application) -> None:
    """A test whose fault can hit nothing proves nothing: an ARN of nothing is refused, and the faults before stay."""
    server = application.server
    good = {"arn": application.arn, "fault": "throttle", "probability": 0.5}
    before = server.steer("faults", {"faults": [good]})
    for arn in _NOBODY:
        with pytest.raises(urllib.error.HTTPError) as refused:
            server.steer("faults", {"faults": [good, {"arn": f"arn:aws:{arn}", "fault": "delay"}]})
        assert refused.value.code == 400
        assert f"arn:aws:{arn}" in json.load(refused.value)["message"]
    assert server.steer("faults") == before


def test_whatever_takes_part_in_a_delivery_can_have_faults(
    application: Application, connect: Callable[..., Any]
) -> None:
    """The check of what a fault may name must not keep out what it can hit."""
    server, queue = application.server, application.queue
    events, sns = (connect(server.endpoint, service) for service in ("events", "sns"))
    topic = sns.create_topic(Name="t")["TopicArn"]
    bus = events.create_event_bus(Name="bus")["EventBusArn"]
    rule = {"Name": "r", "EventPattern": '{"source":["s"]}'}
    role = "arn:aws:iam::000000000000:role/r"
    arns = [
        queue,
        f"{application.arn}:$LATEST",
        application.functions.create_event_source_mapping(
            EventSourceArn=queue, FunctionName="echo"
        )["EventSourceMappingArn"],
        topic,
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)["SubscriptionArn"],
        bus,
        events.put_rule(**rule)["RuleArn"],
        events.put_rule(**rule, EventBusName="bus")["RuleArn"],
        connect(server.endpoint, "scheduler").create_schedule(
            Name="s",
            ScheduleExpression="rate(1 day)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": queue, "RoleArn": role},
        )["ScheduleArn"],
        connect(server.endpoint, "pipes").create_pipe(
            Name="p", RoleArn=role, Source=queue, Target=application.arn
        )["Arn"],
        "arn:aws:s3:::bucket",
        "arn:aws:scheduler:::aws-sdk:sqs:purgeQueue",
    ]
    connect(server.endpoint, "s3").create_bucket(Bucket="bucket")
    told = server.steer(
        "faults", {"faults": [{"arn": arn, "fault": "delay", "delay": 0.5} for arn in arns]}
    )
    assert arns == [fault["arn"] for fault in told["faults"]]


def test_stacks_are_made_while_time_stands_still(
    application: Application, connect: Callable[..., Any]
) -> None:
    """Environments that are started beforehand start in the machine's time: a stack waits for them in that."""
    alias = {
        "FunctionName": "echo",
        "FunctionVersion": {"Fn::GetAtt": "Version.Version"},
        "Name": "live",
        "ProvisionedConcurrencyConfig": {"ProvisionedConcurrentExecutions": 1},
    }
    version = {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": "echo"}}
    resources = {"Version": version, "Alias": {"Type": "AWS::Lambda::Alias", "Properties": alias}}
    application.server.steer("clock", {"freeze": True})
    cloudformation = connect(application.server.endpoint, "cloudformation")
    cloudformation.create_stack(
        StackName="still", TemplateBody=json.dumps({"Resources": resources})
    )
    waiter = cloudformation.get_waiter("stack_create_complete")
    waiter.wait(StackName="still", WaiterConfig={"Delay": 0.1, "MaxAttempts": 100})
