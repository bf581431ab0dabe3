"""EventBridge Scheduler: schedules, groups, and what they hand to their targets, in virtual time."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import Server

ROLE = "arn:aws:iam::000000000000:role/scheduler"
OFF = {"Mode": "OFF"}


class Clock:
    """A Penstock whose time stands still, and the clients of a test."""

    def __init__(self, server: Server, connect: Callable[..., Any]) -> None:
        self.server = server
        self.scheduler = connect(server.endpoint, "scheduler")
        self.sqs = connect(server.endpoint, "sqs")
        self.connect = connect
        server.steer("clock", {"freeze": True})

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.server.steer("clock")["now"] / 1000, UTC)

    def advance(self, seconds: float) -> None:
        self.server.steer("clock", {"advance": seconds})

    def queue(self, name: str, **attributes: str) -> tuple[str, str]:
        """URL and ARN of a new queue."""
        url = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, found["Attributes"]["QueueArn"]

    def received(self, url: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while messages := self.sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=43_200,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        ).get("Messages"):
            found += messages
        return found

    def bodies(self, url: str) -> list[str]:
        return [message["Body"] for message in self.received(url)]


@pytest.fixture
def clock(frozen: Server, connect: Callable[..., Any]) -> Clock:
    return Clock(frozen, connect)


def target(arn: str, **more: Any) -> dict[str, Any]:
    return {"Arn": arn, "RoleArn": ROLE, **more}


def test_a_schedule_as_it_was_created(aws: Callable[..., Any], unique: str) -> None:
    """GetSchedule answers what was given, with AWS's defaults."""
    scheduler = aws("scheduler")
    queue = f"arn:aws:sqs:us-east-1:000000000000:{unique}"
    created = scheduler.create_schedule(
        Name=unique,
        ScheduleExpression="cron(0 10 ? * MON-FRI *)",
        ScheduleExpressionTimezone="Europe/Berlin",
        FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15},
        Target=target(queue, Input="hello"),
    )
    assert created["ScheduleArn"].endswith(f":schedule/default/{unique}")
    found = scheduler.get_schedule(Name=unique)
    assert found["Arn"] == created["ScheduleArn"]
    assert found["State"] == "ENABLED"
    assert found["ActionAfterCompletion"] == "NONE"
    assert found["ScheduleExpressionTimezone"] == "Europe/Berlin"
    retries = {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}
    assert found["Target"] == target(queue, Input="hello", RetryPolicy=retries)
    (listed,) = scheduler.list_schedules(NamePrefix=unique)["Schedules"]
    assert listed["Target"] == {"Arn": queue}
    scheduler.delete_schedule(Name=unique)
    with pytest.raises(ClientError) as refused:
        scheduler.get_schedule(Name=unique)
    assert refused.value.response["Error"] == {
        "Code": "ResourceNotFoundException",
        "Message": f"Schedule {unique} does not exist.",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ScheduleExpression": "rate(10 seconds)"}, "Invalid Schedule Expression rate(10 seconds)."),
        ({"ScheduleExpression": "cron(0 1 * * * *)"}, "Invalid Schedule Expression cron(0 1 * * * *)."),
        ({"ScheduleExpressionTimezone": "Mars/Olympus"}, "Invalid Schedule Expression Timezone Mars/Olympus."),
        ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "MaximumWindowInMinutes"),
        ({"Target": target("arn:aws:sqs:us-east-1:000000000000:q.fifo")}, "MessageGroupId"),
        ({"Target": target("arn:aws:events:us-east-1:000000000000:event-bus/b")}, "EventBridgeParameters"),
        ({"Target": target("arn:aws:lambda:us-east-1:000000000000:function:f", Input="{")}, "not valid JSON"),
        ({"Target": target("arn:aws:scheduler:::aws-sdk:sqs:getQueueUrl")}, "not supported"),
        ({"Target": target("arn:aws:scheduler:::aws-sdk:sqs:sendMesage")}, "not supported: arn:aws:scheduler:::aws-sdk:sqs:sendMesage"),
        ({"StartDate": datetime(2020, 1, 1, tzinfo=UTC)}, "StartDate"),
        ({"EndDate": datetime(2020, 1, 1, tzinfo=UTC)}, "EndDate"),
    ],
)  # fmt: skip
def test_what_is_no_schedule(
    aws: Callable[..., Any], changes: dict[str, Any], message: str
) -> None:
    """Each is refused with what is wrong with it."""
    given = {
        "Name": "none",
        "ScheduleExpression": "rate(1 minute)",
        "FlexibleTimeWindow": OFF,
        "Target": target("arn:aws:sqs:us-east-1:000000000000:q"),
    }
    with pytest.raises(ClientError) as refused:
        aws("scheduler").create_schedule(**{**given, **changes})
    error = refused.value.response["Error"]
    assert error["Code"] == "ValidationException"
    assert message in error["Message"]


@pytest.mark.parametrize(
    ("target_of", "refusal"),
    [
        ("ec2:stopInstances", "the service ec2"),
        ("sns:setEndpointAttributesOfAll", None),
        ("cloudformation:activateType", "cloudformation:ActivateType"),
    ],
)
def test_what_a_schedule_could_never_call(
    aws: Callable[..., Any], unique: str, target_of: str, refusal: str | None
) -> None:
    """What no service has, or what is not built, is told when the schedule is made or changed, not when it is due."""
    scheduler = aws("scheduler")
    given = {
        "Name": unique,
        "ScheduleExpression": "rate(30 days)",
        "FlexibleTimeWindow": OFF,
        "Target": target("arn:aws:scheduler:::aws-sdk:sns:publish"),
    }
    scheduler.create_schedule(**given)
    given["Target"] = target(f"arn:aws:scheduler:::aws-sdk:{target_of}")
    with pytest.raises(ClientError) as refused:
        scheduler.update_schedule(**given)
    error = refused.value.response["Error"]
    if refusal is None:
        assert "ValidationException" == error["Code"]
    else:
        assert "NotImplemented" == error["Code"]
        assert refusal in error["Message"]
    scheduler.delete_schedule(Name=unique)


def test_targets_that_are_not_built_are_refused_by_name(aws: Callable[..., Any]) -> None:
    """A schedule that would reach nobody is not accepted."""
    with pytest.raises(ClientError, match="schedules for the service states"):
        aws("scheduler").create_schedule(
            Name="none",
            ScheduleExpression="rate(1 minute)",
            FlexibleTimeWindow=OFF,
            Target=target("arn:aws:states:us-east-1:000000000000:stateMachine:m"),
        )


def test_a_client_token_makes_a_repetition_harmless(aws: Callable[..., Any], unique: str) -> None:
    """Whoever did not hear the answer asks again; anybody else meets a conflict."""
    scheduler = aws("scheduler")
    given = {
        "Name": unique,
        "ScheduleExpression": "rate(1 day)",
        "FlexibleTimeWindow": OFF,
        "State": "DISABLED",
        "Target": target("arn:aws:sqs:us-east-1:000000000000:q"),
    }
    first = scheduler.create_schedule(**given, ClientToken="one")
    again = scheduler.create_schedule(**given, ClientToken="one")
    assert first["ScheduleArn"] == again["ScheduleArn"]
    with pytest.raises(ClientError) as refused:
        scheduler.create_schedule(**given, ClientToken="other")
    assert refused.value.response["Error"]["Code"] == "ConflictException"


def test_groups_and_their_tags(aws: Callable[..., Any], unique: str) -> None:
    """A group is deleted with its schedules; the default one stays."""
    scheduler = aws("scheduler")
    tags = [{"Key": "team", "Value": "blue"}]
    arn = scheduler.create_schedule_group(Name=unique, Tags=tags)["ScheduleGroupArn"]
    scheduler.tag_resource(ResourceArn=arn, Tags=[{"Key": "more", "Value": "1"}])
    scheduler.untag_resource(ResourceArn=arn, TagKeys=["team"])
    assert scheduler.list_tags_for_resource(ResourceArn=arn)["Tags"] == [
        {"Key": "more", "Value": "1"}
    ]
    scheduler.create_schedule(
        Name="s",
        GroupName=unique,
        ScheduleExpression="rate(1 day)",
        FlexibleTimeWindow=OFF,
        Target=target("arn:aws:sqs:us-east-1:000000000000:q"),
    )
    assert [one["Name"] for one in scheduler.list_schedules(GroupName=unique)["Schedules"]] == ["s"]
    scheduler.delete_schedule_group(Name=unique)
    with pytest.raises(ClientError):
        scheduler.get_schedule(Name="s", GroupName=unique)
    names = [group["Name"] for group in scheduler.list_schedule_groups()["ScheduleGroups"]]
    assert "default" in names
    assert unique not in names
    with pytest.raises(ClientError):
        scheduler.delete_schedule_group(Name="default")


def test_a_rate_runs_at_once_and_again_and_again(clock: Clock, unique: str) -> None:
    """Without a StartDate a rate runs at once, then every period, until it is deleted."""
    url, arn = clock.queue(unique)
    clock.scheduler.create_schedule(
        Name=unique,
        ScheduleExpression="rate(5 minutes)",
        FlexibleTimeWindow=OFF,
        Target=target(arn, Input="<aws.scheduler.schedule-arn> <aws.scheduler.attempt-number>"),
    )
    clock.advance(1)
    assert [
        f"arn:aws:scheduler:us-east-1:000000000000:schedule/default/{unique} 1"
    ] == clock.bodies(url)
    clock.advance(899)
    assert len(clock.bodies(url)) == 3
    clock.scheduler.delete_schedule(Name=unique)
    clock.advance(3600)
    assert clock.bodies(url) == []


def test_once_at_a_wall_clock_time_and_deleted_after(clock: Clock, unique: str) -> None:
    """`at` in a time zone, with the default input; ActionAfterCompletion removes the schedule."""
    url, arn = clock.queue(unique)
    due = (clock.now + timedelta(hours=2)).replace(microsecond=0)
    clock.scheduler.create_schedule(
        Name=unique,
        ScheduleExpression=f"at({due - timedelta(hours=3):%Y-%m-%dT%H:%M:%S})",
        ScheduleExpressionTimezone="Etc/GMT+3",
        FlexibleTimeWindow=OFF,
        ActionAfterCompletion="DELETE",
        Target=target(arn),
    )
    clock.advance(7190)
    assert clock.bodies(url) == []
    clock.advance(10)
    (body,) = clock.bodies(url)
    event = json.loads(body)
    assert event["detail-type"] == "Scheduled Event"
    assert event["time"] == f"{due:%Y-%m-%dT%H:%M:%SZ}"
    with pytest.raises(ClientError, match="does not exist"):
        clock.scheduler.get_schedule(Name=unique)


def test_one_time_that_has_passed(clock: Clock, unique: str) -> None:
    """Within the minute it runs at once, and only once; an older one is accepted and never runs."""
    url, arn = clock.queue(unique)

    def at(seconds_ago: int) -> str:
        return f"at({clock.now - timedelta(seconds=seconds_ago):%Y-%m-%dT%H:%M:%S})"

    given: dict[str, Any] = {"FlexibleTimeWindow": OFF, "ActionAfterCompletion": "NONE"}
    just, long_ago = at(30), at(3600)
    clock.scheduler.create_schedule(
        **given, Name=f"{unique}-1", ScheduleExpression=just, Target=target(arn, Input="just")
    )
    clock.scheduler.create_schedule(
        **given, Name=f"{unique}-2", ScheduleExpression=long_ago, Target=target(arn, Input="old")
    )
    clock.advance(0)
    assert clock.bodies(url) == ["just"]

    clock.scheduler.update_schedule(
        **given, Name=f"{unique}-1", ScheduleExpression=just, Target=target(arn, Input="again")
    )
    clock.scheduler.update_schedule(
        **given, Name=f"{unique}-2", ScheduleExpression=at(1), Target=target(arn, Input="moved")
    )
    clock.advance(3600)
    assert clock.bodies(url) == ["moved"]
    found = clock.scheduler.get_schedule(Name=f"{unique}-1")
    assert (found["ScheduleExpression"], found["State"]) == (just, "ENABLED")


def test_one_time_has_neither_start_nor_end(clock: Clock, unique: str) -> None:
    """They bound what recurs."""
    url, arn = clock.queue(unique)
    due = clock.now + timedelta(hours=1)
    clock.scheduler.create_schedule(
        Name=unique,
        ScheduleExpression=f"at({due:%Y-%m-%dT%H:%M:%S})",
        StartDate=due + timedelta(hours=1),
        EndDate=due + timedelta(hours=2),
        FlexibleTimeWindow=OFF,
        Target=target(arn, Input="x"),
    )
    clock.advance(3600)
    assert clock.bodies(url) == ["x"]


def test_schedules_in_pages(aws: Callable[..., Any], unique: str) -> None:
    """By group and name; a page goes on where the last one ended, whatever was deleted in between."""
    scheduler = aws("scheduler")
    groups = [f"{unique}-{n}" for n in range(2)]
    made = []
    for group in groups:
        scheduler.create_schedule_group(Name=group)
        for n in range(5):
            scheduler.create_schedule(
                Name=f"{unique[-8:]}-{n}",
                GroupName=group,
                ScheduleExpression="rate(1 day)",
                FlexibleTimeWindow=OFF,
                State="DISABLED" if n == 3 else "ENABLED",
                Target=target("arn:aws:sqs:us-east-1:000000000000:q"),
            )
            made.append((group, f"{unique[-8:]}-{n}"))

    def listed(**more: Any) -> list[tuple[str, str]]:
        pages = scheduler.get_paginator("list_schedules").paginate(**more)
        return [(one["GroupName"], one["Name"]) for page in pages for one in page["Schedules"]]

    assert listed(NamePrefix=unique[-8:], PaginationConfig={"PageSize": 3}) == made
    assert listed(GroupName=groups[1], PaginationConfig={"PageSize": 2}) == made[5:]
    assert listed(GroupName=groups[0], State="DISABLED") == [made[3]]
    first = scheduler.list_schedules(GroupName=groups[0], MaxResults=2)
    scheduler.delete_schedule(GroupName=groups[0], Name=made[0][1])
    rest = scheduler.list_schedules(GroupName=groups[0], NextToken=first["NextToken"])
    assert [one["Name"] for one in rest["Schedules"]] == [name for _, name in made[2:5]]
    with pytest.raises(ClientError, match="NextToken"):
        scheduler.list_schedules(NextToken="?")


def test_a_flexible_window_start_and_end(clock: Clock, unique: str) -> None:
    """It runs within the window, first at its start, never beyond its end."""
    url, arn = clock.queue(unique)
    start = clock.now + timedelta(hours=1)
    clock.scheduler.create_schedule(
        Name=unique,
        ScheduleExpression="rate(1 hour)",
        StartDate=start,
        EndDate=start + timedelta(minutes=90),
        FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 10},
        Target=target(arn, Input="x"),
    )
    clock.advance(3590)
    assert clock.received(url) == []
    clock.advance(610)
    assert len(clock.received(url)) == 1
    clock.advance(3000 - 10)
    assert clock.received(url) == []
    clock.advance(610)
    assert len(clock.received(url)) == 1
    clock.advance(6 * 3600)
    assert clock.received(url) == []


def test_an_update_keeps_what_is_due_within_its_window(clock: Clock, unique: str) -> None:
    """Nothing but the target has changed: the run of this hour is still to come, and comes once."""
    url, arn = clock.queue(unique)
    due = clock.now + timedelta(hours=1)
    given: dict[str, Any] = {
        "Name": unique,
        "ScheduleExpression": f"at({due:%Y-%m-%dT%H:%M:%S})",
        "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 1440},
    }
    clock.scheduler.create_schedule(**given, Target=target(arn, Input="x"))
    clock.advance(3600)
    clock.scheduler.update_schedule(**given, Target=target(arn, Input="x"), Description="same")
    clock.advance(86_400)
    assert clock.bodies(url) == ["x"]
    clock.scheduler.update_schedule(**given, Target=target(arn, Input="x"))
    clock.advance(3600)
    assert clock.bodies(url) == []


def test_an_update_makes_what_was_due_void(clock: Clock, unique: str) -> None:
    """What was put for the old schedule must not fire beside the new one."""
    url, arn = clock.queue(unique)
    given: dict[str, Any] = {"Name": unique, "FlexibleTimeWindow": OFF}
    hour = (clock.now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")
    clock.scheduler.create_schedule(
        **given, ScheduleExpression=f"at({hour})", Target=target(arn, Input="old")
    )
    clock.scheduler.update_schedule(
        **given, ScheduleExpression=f"at({hour})", Target=target(arn, Input="new")
    )
    clock.advance(3700)
    assert clock.bodies(url) == ["new"]
    clock.scheduler.update_schedule(
        **given, ScheduleExpression="rate(1 minute)", State="DISABLED", Target=target(arn)
    )
    clock.advance(300)
    assert clock.bodies(url) == []


def test_any_operation_is_a_target(clock: Clock, unique: str) -> None:
    """A universal target: the input is the operation's request."""
    url, _ = clock.queue(unique)
    clock.scheduler.create_schedule(
        Name=unique,
        ScheduleExpression="rate(1 hour)",
        FlexibleTimeWindow=OFF,
        Target=target(
            "arn:aws:scheduler:::aws-sdk:sqs:sendMessage",
            Input=json.dumps({"QueueUrl": url, "MessageBody": "<aws.scheduler.attempt-number>"}),
        ),
    )
    clock.advance(1)
    assert clock.bodies(url) == ["1"]


def test_what_cannot_be_delivered_is_tried_again_then_dead(clock: Clock, unique: str) -> None:
    """A queue that is not there is refused for good; a fault passes, or uses up the attempts."""
    dead, dead_arn = clock.queue(f"{unique}-dead")
    url, arn = clock.queue(unique)
    letters = {"DeadLetterConfig": {"Arn": dead_arn}}
    clock.server.steer("faults", {"faults": [{"arn": arn, "fault": "throttle"}]})
    clock.scheduler.create_schedule(
        Name=unique,
        ScheduleExpression="rate(30 days)",
        FlexibleTimeWindow=OFF,
        Target=target(arn, Input="x", RetryPolicy={"MaximumRetryAttempts": 3}, **letters),
    )
    clock.advance(60)
    clock.server.steer("faults", {"faults": []})
    clock.scheduler.create_schedule(
        Name=f"{unique}-gone",
        ScheduleExpression="rate(30 days)",
        FlexibleTimeWindow=OFF,
        Target=target(f"{arn}-gone", Input="y", **letters),
    )
    clock.advance(60)
    assert clock.bodies(url) == []
    tired, gone = sorted(clock.received(dead), key=lambda message: message["Body"])
    told = {name: value["StringValue"] for name, value in tired["MessageAttributes"].items()}
    assert told["EXHAUSTED_RETRY_CONDITION"] == "MaximumRetryAttempts"
    assert told["RETRY_ATTEMPTS"] == "3"
    assert told["TARGET_ARN"] == arn
    told = {name: value["StringValue"] for name, value in gone["MessageAttributes"].items()}
    assert told["RETRY_ATTEMPTS"] == "0"
    assert "EXHAUSTED_RETRY_CONDITION" not in told
    assert told["ERROR_CODE"]
    assert told["SCHEDULE_ARN"].endswith(f"{unique}-gone")


def test_schedules_survive_a_crash(
    launch: Callable[..., Server], connect: Callable[..., Any], tmp_path: Path
) -> None:
    """A Penstock that was killed goes on with what is due."""
    server = launch(tmp_path)
    clock = Clock(server, connect)
    url, arn = clock.queue("once")
    clock.scheduler.create_schedule(
        Name="minutely",
        ScheduleExpression="rate(1 minute)",
        StartDate=clock.now + timedelta(hours=1),
        FlexibleTimeWindow=OFF,
        Target=target(arn, Input="<aws.scheduler.scheduled-time>"),
    )
    server.kill()
    server.start()
    server.steer("clock", {"freeze": True})
    clock.advance(3590)
    assert clock.bodies(url) == []
    clock.advance(130)
    assert len(clock.bodies(url)) in (2, 3)


SAM = {
    "Transform": "AWS::Serverless-2016-10-31",
    "Resources": {
        "Group": {"Type": "AWS::Scheduler::ScheduleGroup", "Properties": {"Tags": [{"Key": "a", "Value": "b"}]}},
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Direct": {
            "Type": "AWS::Scheduler::Schedule",
            "Properties": {
                "GroupName": {"Ref": "Group"},
                "ScheduleExpression": "rate(1 hour)",
                "FlexibleTimeWindow": {"Mode": "OFF"},
                "Target": {"Arn": {"Fn::GetAtt": ["Queue", "Arn"]}, "RoleArn": ROLE, "Input": "direct"},
            },
        },
        "Function": {
            "Type": "AWS::Serverless::Function",
            "Properties": {
                "Runtime": "python3.11",
                "Handler": "index.handler",
                "InlineCode": "import boto3, os\ndef handler(event, context):\n    boto3.client('sqs').send_message("
                "QueueUrl=os.environ['QUEUE'], MessageBody=str(event['n']))\n",
                "Environment": {"Variables": {"QUEUE": {"Ref": "Queue"}}},
                "Events": {
                    "Nightly": {
                        "Type": "ScheduleV2",
                        "Properties": {"ScheduleExpression": "rate(1 hour)", "Input": '{"n": 7}'},
                    }
                },
            },
        },
    },
    "Outputs": {"Queue": {"Value": {"Ref": "Queue"}}, "Arn": {"Value": {"Fn::GetAtt": ["Direct", "Arn"]}}},
}  # fmt: skip


def test_schedules_of_a_template(clock: Clock, unique: str) -> None:
    """Groups and schedules, and a function's own event of type ScheduleV2."""
    stacks = clock.connect(clock.server.endpoint, "cloudformation")
    clock.server.steer("clock", {"resume": True})
    capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    stacks.create_stack(StackName=unique, TemplateBody=json.dumps(SAM), Capabilities=capabilities)
    stacks.get_waiter("stack_create_complete").wait(
        StackName=unique, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    clock.server.steer("clock", {"freeze": True})
    (stack,) = stacks.describe_stacks(StackName=unique)["Stacks"]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    assert ":schedule/" in outputs["Arn"]
    clock.advance(1)
    assert sorted(clock.bodies(outputs["Queue"])) == ["7", "direct"]
    clock.advance(3600)
    assert sorted(clock.bodies(outputs["Queue"])) == ["7", "direct"]
    clock.server.steer("clock", {"resume": True})
    stacks.delete_stack(StackName=unique)
    stacks.get_waiter("stack_delete_complete").wait(
        StackName=unique, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    names = [one["Name"] for one in clock.scheduler.list_schedules()["Schedules"]]
    assert not any(unique in name for name in names)
