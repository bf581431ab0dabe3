"""The work of those who tell many: topics, buses, buckets."""

import hashlib
import http.client
import json
import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from bench.systems import System
from bench.work import BODY, ROLE, Request, headers, load

SUBSCRIBERS = 5
RAW = {"RawMessageDelivery": "true"}
PATTERN = json.dumps({"source": ["bench.orders"], "detail": {"status": ["paid"]}})


def _queue(system: System, name: str) -> tuple[str, str]:
    sqs = system.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return url, answer["Attributes"]["QueueArn"]


def _delivered(system: System, urls: list[str], expected: int, patience_s: float = 60) -> int:
    """Wait until so many messages are in the queues. Returns how many there are."""
    sqs = system.client("sqs")
    names = ["ApproximateNumberOfMessages"]
    deadline = time.perf_counter() + patience_s
    while True:
        found = sum(
            int(
                sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"][names[0]]
            )
            for url in urls
        )
        if found >= expected or time.perf_counter() > deadline:
            return found
        time.sleep(0.02)


def _told(system: System, requests: list[Request], urls: list[str], each: int) -> float:
    """Messages per second that reach the queues, when each request is to make `each` of them."""
    load(system, requests, connections=64, seconds=0.5)
    before = _delivered(system, urls, 10**12, patience_s=1)
    started = time.perf_counter()
    done = load(system, requests, connections=64, seconds=3)["done"]
    found = _delivered(system, urls, before + done * each) - before
    if found < done * each:
        raise RuntimeError(f"{system.name}: {found} of {done * each} were delivered")
    return round(found / (time.perf_counter() - started), 1)


def publish(system: System) -> float:
    """SNS: deliveries per second of Publish to a topic with five queues; each publish is signed, with a key of 2,048 bits."""
    return _told(system, *publishing(system, {}), SUBSCRIBERS)


def publish_raw(system: System) -> float:
    """The same with raw delivery: nothing is signed."""
    return _told(system, *publishing(system, RAW), SUBSCRIBERS)


def publishing(system: System, attributes: dict[str, str]) -> tuple[list[Request], list[str]]:
    """Publish to a topic with five queues, and the URLs of the queues."""
    sns = system.client("sns")
    topic = sns.create_topic(Name="bench")["TopicArn"]
    urls = []
    for n in range(SUBSCRIBERS):
        url, arn = _queue(system, f"bench-subscriber-{n}")
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
        urls.append(url)
    form = {"Action": "Publish", "Version": "2010-03-31", "TopicArn": topic, "Message": BODY}
    content = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    return [("POST", "/", headers("sns") | content, urlencode(form))], urls


def putting_events(system: System, rules: int) -> tuple[list[Request], list[str]]:
    """PutEvents of ten, all of which one of so many rules sends to a queue."""
    events = system.client("events")
    url, arn = _queue(system, f"bench-matched-{rules}")
    bus = f"bench-{rules}"
    events.create_event_bus(Name=bus)
    events.put_rule(Name="match", EventBusName=bus, EventPattern=PATTERN, RoleArn=ROLE)
    events.put_targets(Rule="match", EventBusName=bus, Targets=[{"Id": "1", "Arn": arn}])
    for n in range(rules - 1):
        other = json.dumps({"source": [f"bench.{n}"], "detail": {"n": [n]}})
        events.put_rule(Name=f"other-{n}", EventBusName=bus, EventPattern=other, RoleArn=ROLE)
        events.put_targets(Rule=f"other-{n}", EventBusName=bus, Targets=[{"Id": "1", "Arn": arn}])
    entry = {
        "Source": "bench.orders",
        "DetailType": "Order",
        "Detail": json.dumps({"status": "paid", "text": BODY}),
        "EventBusName": bus,
    }
    target = headers("events", "AWSEvents.PutEvents") | {
        "content-type": "application/x-amz-json-1.1"
    }
    return [("POST", "/", target, json.dumps({"Entries": [entry] * 10}))], [url]


def put_events(system: System) -> float:
    """EventBridge: events per second that PutEvents of ten brings through a rule to a queue."""
    return _told(system, *putting_events(system, 1), 10)


def rules(system: System) -> dict[str, float]:
    """The same with ten rules on the bus, and with a thousand."""
    found = {}
    for count in (10, 1000):
        found[f"{count} rules"] = _told(system, *putting_events(system, count), 10)
    return found


def small_objects(system: System) -> list[Request]:
    """PutObject of a kilobyte, to a thousand keys."""
    system.client("s3").create_bucket(Bucket="bench-small")
    body = "x" * 1024
    digest = {"x-amz-content-sha256": hashlib.sha256(body.encode()).hexdigest()}
    return [("PUT", f"/bench-small/key-{n}", headers("s3") | digest, body) for n in range(1000)]


def small_reads(system: System) -> list[Request]:
    """GetObject of each of them."""
    puts = small_objects(system)
    load(system, puts, connections=8, once=True)
    return [("GET", path, fields, "") for _, path, fields, _ in puts]


def large_object(system: System, size: int = 100 * 1024 * 1024) -> dict[str, float]:
    """One object of 100 MB: MB/s up and down, and what the process grew by at most (MB)."""
    system.client("s3").create_bucket(Bucket="bench-large")
    before = most = system.memory_mb()
    piece = os.urandom(1024 * 1024)

    def pieces() -> Iterator[bytes]:
        nonlocal most
        for n in range(size // len(piece)):
            if n % 10 == 0:
                most = max(most, system.memory_mb())
            yield piece

    figures: dict[str, Any] = {}
    signed = headers("s3") | {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=120)
    started = time.perf_counter()
    sized = signed | {"content-length": str(size)}
    connection.request("PUT", "/bench-large/object", body=pieces(), headers=sized)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{system.name}: {answer.status}")
    figures["up MB/s"] = round(size / 1e6 / (time.perf_counter() - started), 1)
    started, got = time.perf_counter(), 0
    connection.request("GET", "/bench-large/object", headers=signed)
    answer = connection.getresponse()
    while data := answer.read(len(piece)):
        got += len(data)
        if got % (10 * len(piece)) < len(data):
            most = max(most, system.memory_mb())
    if got != size:
        raise RuntimeError(f"{system.name}: {got} of {size} bytes came back")
    figures["down MB/s"] = round(size / 1e6 / (time.perf_counter() - started), 1)
    figures["grew by MB"] = round(most - before, 1)
    return figures
