"""Concurrency limits as callers meet them: who is refused, who waits, and what never costs a place for good."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.aws.lambda_application import Application, until

CODE = """
import os, time
import boto3

def handler(event, context):
    if "TOLD" in os.environ:
        boto3.client("sqs").send_message(QueueUrl=os.environ["TOLD"], MessageBody=str(event.get("n", 0)))
    time.sleep(event.get("sleep", 0))
    if event.get("exit"):
        os._exit(1)
    return event
"""
RESERVED = "ReservedFunctionConcurrentInvocationLimitExceeded"


@pytest.fixture
def application(endpoint: str, connect: Callable[..., Any], unique: str) -> Application:
    return Application(endpoint, connect, unique)


def reserved(application: Application, amount: int, **options: Any) -> tuple[str, str]:
    """A function with a reservation, and the queue that it tells when it begins."""
    told, _ = application.queue("told")
    function = application.function(CODE, Environment={"Variables": {"TOLD": told}}, **options)
    reserve(application, function, amount)
    return function, told


def reserve(application: Application, function: str, amount: int) -> None:
    application.functions.put_function_concurrency(
        FunctionName=function, ReservedConcurrentExecutions=amount
    )


def call(application: Application, function: str, **event: Any) -> str:
    """Invoke and wait. Returns the reason of a refusal, or nothing."""
    try:
        application.functions.invoke(FunctionName=function, Payload=json.dumps(event))
    except application.functions.exceptions.TooManyRequestsException as refused:
        assert 429 == refused.response["ResponseMetadata"]["HTTPStatusCode"]
        assert "Rate Exceeded." == refused.response["Error"]["Message"]
        return str(refused.response["Reason"])
    return ""


def test_synchronous_excess_is_refused(application: Application) -> None:
    """A caller who waits is told at once that there is no place, and why; the next one finds it free."""
    function, told = reserved(application, 2)
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(call, application, function, sleep=1.5) for _ in range(2)]
        application.wait_for_bodies(told, 2)
        assert RESERVED == call(application, function)
        assert ["", ""] == [one.result() for one in running]
    assert "" == call(application, function)


def test_raised_and_ended_reservations_hold_at_once(application: Application) -> None:
    """What is in flight counts in whichever pool it belongs to from now on."""
    function, told = reserved(application, 1)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(call, application, function, sleep=2)
        application.wait_for_bodies(told, 1)
        assert RESERVED == call(application, function)
        reserve(application, function, 2)
        assert "" == call(application, function)
        reserve(application, function, 1)
        assert RESERVED == call(application, function)
        application.functions.delete_function_concurrency(FunctionName=function)
        assert "" == call(application, function)
        reserve(application, function, 0)
        assert RESERVED == call(application, function)
        assert "" == running.result()


def test_asynchronous_excess_waits(application: Application) -> None:
    """What nobody waits for is accepted beyond the limit, and runs when there is a place."""
    function, told = reserved(application, 1)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(call, application, function, sleep=1, n=100)
        application.wait_for_bodies(told, 1)
        for number in range(5):
            application.event(function, {"n": number})
        assert "" == running.result()
    assert set(range(5)) == set(application.wait_for_bodies(told, 5))


def test_places_come_back_from_every_ending(application: Application) -> None:
    """A timeout, the death of the process and a deletion must not cost the function a place."""
    function, told = reserved(application, 1, Timeout=1)
    for event in ({"sleep": 5}, {"exit": True}, {"sleep": 5}, {"n": 1}):
        assert "" == call(application, function, **event)
    with ThreadPoolExecutor(1) as pool:
        application.wait_for_bodies(told, 4)
        running = pool.submit(call, application, function, sleep=0.8)
        application.wait_for_bodies(told, 1)
        application.functions.delete_function(FunctionName=function)
        again = application.function(CODE)
        running.result()
    reserve(application, again, 1)
    assert "" == call(application, again)


def test_mappings_share_a_reservation(application: Application) -> None:
    """Two queues feed one function that may run once at a time: each message is processed, none is received twice."""
    function, told = reserved(application, 1)
    for suffix in ("one", "two"):
        url, queue = application.queue(suffix, VisibilityTimeout="300")
        application.send(url, *[json.dumps({"n": n}) for n in range(3)])
        application.feed(queue, function, BatchSize=1)
    application.wait_for_bodies(told, 6)
    url, _ = application.queue("one", VisibilityTimeout="300")
    until(lambda: application.counts(url) == (0, 0))
