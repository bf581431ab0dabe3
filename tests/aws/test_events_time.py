"""EventBridge over time: retries and dead letters, scheduled rules, archives and replays, and crashes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.events_application import KEY, Bus, Endpoint, destination
from tests.conftest import Server

ORDERS = {"source": ["shop"]}
GONE = "arn:aws:lambda:us-east-1:000000000000:function:nobody"
ROLE = "arn:aws:iam::000000000000:role/r"


@pytest.fixture
def bus(frozen_events: Server, connect: Callable[..., Any], unique: str) -> Bus:
    """A bus on it."""
    made = Bus(frozen_events.endpoint, connect, unique)
    made.steer("clock", {"freeze": True})
    return made


def attributes(message: dict[str, Any]) -> dict[str, str]:
    return {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}


def test_a_target_that_is_gone_leaves_a_dead_letter(bus: Bus) -> None:
    """There is nothing to wait for: the event as it was put is in the queue at once, with AWS's attributes."""
    letters, arn = bus.queue("dead")
    rule = bus.rule(ORDERS, {"Arn": GONE, "Input": "{}", "DeadLetterConfig": {"Arn": arn}})

    put = bus.put({"n": 7})
    bus.advance(0)

    (letter,) = bus.messages(letters)
    event = json.loads(letter["Body"])
    assert (put["EventId"], {"n": 7}) == (event["id"], event["detail"])
    told = attributes(letter)
    assert "not found" in told.pop("ERROR_MESSAGE").lower()
    assert {
        "RULE_ARN": f"arn:aws:events:us-east-1:000000000000:rule/{bus.name}/{rule}",
        "TARGET_ARN": GONE,
        "ERROR_CODE": "NO_RESOURCE",
        "RETRY_ATTEMPTS": "0",
    } == told


def test_a_target_that_may_come_back_is_tried_again(bus: Bus) -> None:
    """Until its retry policy ends, by number or by age; then the dead letter says which."""
    letters, dead = bus.queue("dead")
    _, target = bus.queue("target")
    for name, policy in (
        ("count", {"MaximumRetryAttempts": 2}),
        ("age", {"MaximumEventAgeInSeconds": 60}),
    ):
        given = {"Arn": target, "RetryPolicy": policy, "DeadLetterConfig": {"Arn": dead}}
        bus.rule(ORDERS, given, name=name)
    fault = {"arn": target, "fault": "throttle"}
    bus.steer("faults", {"faults": [fault]})

    bus.put()
    bus.advance(2)
    assert [] == bus.messages(letters)
    bus.advance(1)
    (count,) = bus.messages(letters)
    bus.advance(60)
    (age,) = bus.messages(letters)
    bus.steer("faults", {"faults": []})

    told = attributes(count)
    assert ("MaximumRetryAttempts", "2") == (
        told["EXHAUSTED_RETRY_CONDITION"],
        told["RETRY_ATTEMPTS"],
    )
    assert "MaximumEventAgeInSeconds" == attributes(age)["EXHAUSTED_RETRY_CONDITION"]


def test_an_input_that_is_no_json_is_a_dead_letter(bus: Bus) -> None:
    """AWS delivers no template that did not become JSON."""
    letters, dead = bus.queue("dead")
    url, arn = bus.queue()
    transformer = {"InputPathsMap": {"n": "$.detail.n"}, "InputTemplate": "n is <n>"}
    bus.rule(
        ORDERS, {"Arn": arn, "InputTransformer": transformer, "DeadLetterConfig": {"Arn": dead}}
    )

    bus.put()

    assert [] == bus.messages(url)
    (letter,) = bus.messages(letters)
    assert "INVALID_JSON" == attributes(letter)["ERROR_CODE"]


def schedule(bus: Bus, expression: str, **rule: Any) -> tuple[str, str]:
    """A scheduled rule with a queue: the rule's name and the queue's URL."""
    url, arn = bus.queue()
    bus.events.put_rule(Name=bus.unique, ScheduleExpression=expression, **rule)
    bus.events.put_targets(Rule=bus.unique, Targets=[{"Id": "q", "Arn": arn}])
    return bus.unique, url


def test_a_rate_fires_from_one_period_on(bus: Bus) -> None:
    """Each time is an event of its own, which tells when it was due."""
    rule, url = schedule(bus, "rate(5 minutes)")

    bus.advance(299)
    assert [] == bus.bodies(url)
    bus.advance(1)
    (event,) = bus.bodies(url)
    bus.advance(900)
    assert 3 == len(bus.bodies(url))

    assert ("aws.events", "Scheduled Event") == (event["source"], event["detail-type"])
    assert [f"arn:aws:events:us-east-1:000000000000:rule/{rule}"] == event["resources"]
    assert {} == event["detail"]
    bus.events.disable_rule(Name=rule)
    bus.advance(900)
    assert [] == bus.bodies(url)
    bus.events.enable_rule(Name=rule)
    bus.advance(300)
    assert 1 == len(bus.bodies(url))
    bus.events.put_rule(Name=rule, ScheduleExpression="rate(1 hour)")
    bus.advance(3599)
    assert [] == bus.bodies(url)
    bus.events.remove_targets(Rule=rule, Ids=["q"])
    bus.events.delete_rule(Name=rule)


def test_a_cron_fires_at_its_times(bus: Bus) -> None:
    """At each of them once, and at no other."""
    _, url = schedule(bus, "cron(0/15 * * * ? *)")

    bus.advance(3600)

    times = [event["time"][14:] for event in bus.bodies(url)]
    assert ["00:00Z", "15:00Z", "30:00Z", "45:00Z"] == sorted(times)
    bus.events.disable_rule(Name=bus.unique)


@pytest.mark.parametrize(
    "expression",
    ["rate(10 seconds)", "rate(1 minutes)", "cron(0 1 * * * *)", "at(2030-01-01T00:00:00)", "x"],
)
def test_schedules_that_are_none(bus: Bus, expression: str) -> None:
    """What a rule cannot go by is refused when it is put."""
    with pytest.raises(ClientError, match="Parameter ScheduleExpression is not valid"):
        bus.events.put_rule(Name=bus.unique, ScheduleExpression=expression)


def archive(bus: Bus, **options: Any) -> str:
    name = bus.unique[-48:]
    made = bus.events.create_archive(ArchiveName=name, EventSourceArn=bus.arn, **options)
    return str(made["ArchiveArn"])


def now(bus: Bus) -> float:
    return float(bus.steer("clock", {"advance": 0})["now"]) / 1000


def test_a_replay_sends_an_archives_events_again(bus: Bus) -> None:
    """Those of its time and pattern, to the rules it names, under their old ids; they are not archived once more."""
    source = archive(bus, EventPattern=json.dumps({"detail": {"keep": [True]}}))
    url, arn = bus.queue("one")
    other, other_arn = bus.queue("two")
    rule = bus.rule(ORDERS, {"Arn": arn})
    bus.rule(ORDERS, {"Arn": other_arn}, name="other")
    began = now(bus)
    first = [bus.put({"n": n, "keep": True})["EventId"] for n in range(3)]
    bus.put({"keep": False})
    bus.advance(60)
    bus.put({"keep": True})
    bus.messages(url), bus.messages(other)

    described = bus.events.describe_archive(ArchiveName=source.rsplit("/", 1)[1])
    assert 4 == described["EventCount"]
    bus.events.start_replay(
        ReplayName=bus.unique,
        EventSourceArn=source,
        EventStartTime=began - 1,
        EventEndTime=began + 30,
        Destination={
            "Arn": bus.arn,
            "FilterArns": [bus.events.describe_rule(Name=rule, EventBusName=bus.name)["Arn"]],
        },
    )
    bus.advance(0)

    replayed = bus.bodies(url)
    assert first == [event["id"] for event in replayed]
    assert {bus.unique} == {event["replay-name"] for event in replayed}
    assert [] == bus.messages(other)
    assert "COMPLETED" == bus.events.describe_replay(ReplayName=bus.unique)["State"]
    described = bus.events.describe_archive(ArchiveName=source.rsplit("/", 1)[1])
    assert 4 == described["EventCount"]


def test_a_replay_goes_by_the_time_of_the_events(bus: Bus) -> None:
    """It may be another one than that at which they were put."""
    source = archive(bus)
    url, arn = bus.queue("one")
    began = now(bus)
    hour = 3600
    long_ago = [bus.put(Time=began - 48 * hour + n)["EventId"] for n in (0, 30, 60)]
    bus.advance(60)
    bus.put()
    bus.put(Time=began + 48 * hour)
    late = bus.put(Time=began - 48 * hour + 10)["EventId"]
    bus.rule({"replay-name": [bus.unique]}, {"Arn": arn})

    bus.events.start_replay(
        ReplayName=bus.unique,
        EventSourceArn=source,
        EventStartTime=began - 48 * hour,
        EventEndTime=began - 48 * hour + 30,
        Destination={"Arn": bus.arn},
    )
    bus.advance(0)

    assert [*long_ago[:2], late] == [event["id"] for event in bus.bodies(url)]


def test_an_archive_whose_bus_is_gone_takes_nothing(bus: Bus) -> None:
    """It says so, cannot be changed, and takes events again once it is updated for a bus made again."""
    name = archive(bus).rsplit("/", 1)[1]
    bus.events.delete_event_bus(Name=bus.name)
    assert "DISABLED" == bus.events.describe_archive(ArchiveName=name)["State"]
    with pytest.raises(ClientError, match=f"Event bus {bus.name} does not exist"):
        bus.events.update_archive(ArchiveName=name, Description="d")

    bus.events.create_event_bus(Name=bus.name)
    bus.put()
    told = bus.events.describe_archive(ArchiveName=name)
    assert ("DISABLED", 0) == (told["State"], told["EventCount"])

    bus.events.update_archive(ArchiveName=name, Description="d")
    bus.put()
    told = bus.events.describe_archive(ArchiveName=name)
    assert ("ENABLED", 1) == (told["State"], told["EventCount"])


def test_an_archive_keeps_events_for_its_days(bus: Bus) -> None:
    """Older ones no longer count."""
    name = archive(bus, RetentionDays=1).rsplit("/", 1)[1]
    bus.put()
    bus.advance(86_399)
    assert 1 == bus.events.describe_archive(ArchiveName=name)["EventCount"]
    bus.put()
    bus.advance(2)
    described = bus.events.describe_archive(ArchiveName=name)
    assert 1 == described["EventCount"]
    assert described["SizeBytes"] > 100


def test_what_manages_itself_is_not_changed(bus: Bus) -> None:
    """The rule of an archive is seen, and goes with the archive."""
    name = archive(bus).rsplit("/", 1)[1]
    (rule,) = bus.events.list_rules(EventBusName=bus.name)["Rules"]
    with pytest.raises(ClientError, match="ManagedRuleException"):
        bus.events.put_rule(Name=rule["Name"], EventBusName=bus.name, EventPattern='{"a":[1]}')
    bus.events.delete_archive(ArchiveName=name)
    assert [] == bus.events.list_rules(EventBusName=bus.name)["Rules"]


def test_a_third_account_is_not_reached(bus: Bus, connect: Any) -> None:
    """An event that came from one account is not sent on to another."""
    second = connect(bus.endpoint, "events", aws_access_key_id="222222222222")
    letters, dead = bus.queue("dead")
    third = "arn:aws:events:us-east-1:333333333333:event-bus/default"
    second.put_rule(Name=bus.unique, EventPattern=json.dumps({"detail": {"x": [bus.unique]}}))
    second.put_targets(
        Rule=bus.unique,
        Targets=[{"Id": "t", "Arn": third, "RoleArn": ROLE, "DeadLetterConfig": {"Arn": dead}}],
    )
    bus.rule(
        ORDERS,
        {"Arn": "arn:aws:events:us-east-1:222222222222:event-bus/default", "RoleArn": ROLE},
    )

    bus.put({"x": bus.unique})
    bus.advance(0)

    (letter,) = bus.messages(letters)
    assert "THIRD_ACCOUNT_HOP_DETECTED" == attributes(letter)["ERROR_CODE"]
    assert "000000000000" == json.loads(letter["Body"])["account"]


def test_an_event_is_sent_to_another_bus_only_once(bus: Bus) -> None:
    """Two buses that send everything to each other do not do so for ever."""
    url, queue = bus.queue()
    other_url, other_queue = bus.queue("other")
    letters, dead = bus.queue("dead")
    other = f"{bus.name}-2"
    other_arn = bus.events.create_event_bus(Name=other)["EventBusArn"]
    bus.rule(ORDERS, {"Arn": queue}, {"Arn": other_arn, "RoleArn": ROLE})
    bus.events.put_rule(Name=other, EventBusName=other, EventPattern=json.dumps(ORDERS))
    back = {"Id": "1", "Arn": bus.arn, "RoleArn": ROLE, "DeadLetterConfig": {"Arn": dead}}
    bus.events.put_targets(
        Rule=other, EventBusName=other, Targets=[back, {"Id": "2", "Arn": other_queue}]
    )

    put = bus.put()["EventId"]
    bus.advance(10)

    assert [put] == [event["id"] for event in bus.bodies(url)]
    assert [put] == [event["id"] for event in bus.bodies(other_url)]
    (letter,) = bus.messages(letters)
    assert "THIRD_ACCOUNT_HOP_DETECTED" == attributes(letter)["ERROR_CODE"]
    assert (
        f"Event ingestion rejected for event {put} because an event can be sent to an event bus target only once. This "
        "event was previously delivered to an event bus target."
    ) == attributes(letter)["ERROR_MESSAGE"]


def test_a_crash_loses_no_delivery_and_no_schedule(
    launch: Callable[..., Server], connect: Any, tmp_path: Path
) -> None:
    """What was acknowledged before `kill -9` happens after it: retries, schedules, and replays, whose events come once."""
    server = launch(tmp_path)
    bus = Bus(server.endpoint, connect, "crash")
    bus.steer("clock", {"freeze": True})
    url, target = bus.queue("target")
    bus.steer("faults", {"faults": [{"arn": target, "fault": "throttle"}]})
    bus.rule(ORDERS, {"Arn": target})
    _, fired = schedule(bus, "rate(1 minute)")
    source = archive(bus)
    put = bus.put()
    hook = Endpoint()
    hook.answers = [(503, {"Retry-After": "60"})]
    bus.rule(
        {"source": ["hook"]}, {"Arn": destination(bus, hook.url, KEY), "RoleArn": ROLE}, name="hook"
    )
    bus.put(Source="hook")
    bus.advance(0)
    assert 1 == len(hook.seen)
    replayed, replayed_arn = bus.queue("replayed")
    kept = [bus.put(Source="kept")["EventId"] for _ in range(130)]
    bus.rule({"replay-name": [bus.unique]}, {"Arn": replayed_arn}, name="replayed")
    began = now(bus)
    times = {"EventStartTime": began - 60, "EventEndTime": began + 60}
    bus.events.start_replay(
        ReplayName=bus.unique, EventSourceArn=source, Destination={"Arn": bus.arn}, **times
    )
    server.kill()

    server.start()
    bus.steer("clock", {"freeze": True})
    bus.advance(120)

    # A delivery that was in flight comes back when its lease ends.
    assert {put["EventId"]} == {event["id"] for event in bus.bodies(url)}
    assert bus.messages(fired)
    # Refused once, called again, and called for the replay.
    assert 3 == len(hook.seen)
    hook.close()
    described = bus.events.describe_archive(ArchiveName=source.rsplit("/", 1)[1])
    assert 132 == described["EventCount"]
    assert "COMPLETED" == bus.events.describe_replay(ReplayName=bus.unique)["State"]
    found = [event["id"] for event in bus.bodies(replayed)]
    assert [put["EventId"], *kept] == found[:1] + found[2:]
