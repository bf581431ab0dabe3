"""Asynchronous events through crashes: each is run to its end, that end is told of once, and retries keep their times."""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.aws.lambda_application import Application

KILLS = 8
HOUR_S = 3600
SUCCEEDS = """
def handler(event, context):
    return event
"""
FAILS = """
def handler(event, context):
    raise ValueError(event["n"])
"""


@dataclass
class Journal:
    """Numbers of the events that were asked for and accepted, by function, and what was told of them in the end."""

    asked: dict[str, list[int]] = field(default_factory=dict)
    accepted: dict[str, list[int]] = field(default_factory=dict)
    told: dict[str, list[Any]] = field(default_factory=dict)
    """What came to the queues, by the queue's name."""


@pytest.fixture(scope="module")
def journal(storm: Any, connect: Callable[..., Any]) -> Journal:
    """Three functions through the storm, and an hour later."""
    application = Application(storm.server.endpoint, connect, "storm")
    names = ("records", "failures", "letters", "relayed")
    queues = {name: application.queue(name) for name in names}
    succeeds = application.function(SUCCEEDS, "succeeds")
    letters = {"TargetArn": queues["letters"][1]}
    fails = application.function(FAILS, "fails", DeadLetterConfig=letters)
    relay = application.function(SUCCEEDS, "relay")
    last = application.function(SUCCEEDS, "last")
    for function, side, destination in (
        (succeeds, "OnSuccess", queues["records"][1]),
        (fails, "OnFailure", queues["failures"][1]),
        (relay, "OnSuccess", last),
        (last, "OnSuccess", queues["relayed"][1]),
    ):
        application.functions.put_function_event_invoke_config(
            FunctionName=function,
            MaximumRetryAttempts=1,
            DestinationConfig={side: {"Destination": destination}},
        )
    kept = Journal()
    numbers = itertools.count()
    for name, function in (("succeeds", succeeds), ("fails", fails), ("relay", relay)):
        storm.run(lambda name=name, f=function: send(application, kept, name, f, next(numbers)))
    storm.rage(KILLS)
    application.steer("clock", {"freeze": True})
    application.advance(HOUR_S)
    for name, (url, _) in queues.items():
        kept.told[name] = application.bodies(url)
    return kept


def send(application: Application, kept: Journal, name: str, function: str, number: int) -> None:
    """Ask for an event; note it once accepted."""
    kept.asked.setdefault(name, []).append(number)
    application.event(function, {"n": number})
    kept.accepted.setdefault(name, []).append(number)


def check_told_once(kept: Journal, name: str, numbers: list[int]) -> None:
    """Every accepted event was told of once, and none twice that was not even accepted."""
    told = Counter(numbers)
    assert len(kept.accepted[name]) > 20
    assert {n: 1 for n in kept.accepted[name]} == {n: told[n] for n in kept.accepted[name]}
    assert set() == set(told) - set(kept.asked[name])
    assert {1} == set(told.values())


def test_success_is_told_once(journal: Journal) -> None:
    """The end of an event and its record are one step: a crash leaves both or neither."""
    told = [record["requestPayload"]["n"] for record in journal.told["records"]]
    check_told_once(journal, "succeeds", told)


def test_failure_is_told_once(journal: Journal) -> None:
    """Record and dead letter are written together, after a retry that no crash has forgotten."""
    records = journal.told["failures"]
    check_told_once(journal, "fails", [record["requestPayload"]["n"] for record in records])
    check_told_once(journal, "fails", [letter["n"] for letter in journal.told["letters"]])
    contexts = [record["requestContext"] for record in records]
    assert {"RetriesExhausted"} == {context["condition"] for context in contexts}
    assert min(context["approximateInvokeCount"] for context in contexts) >= 2


def test_relayed_event_arrives(journal: Journal) -> None:
    """A destination that is another function gets every record, at least once."""
    told = {record["requestPayload"]["requestPayload"]["n"] for record in journal.told["relayed"]}
    assert set() == set(journal.accepted["relay"]) - told
    assert set() == told - set(journal.asked["relay"])
