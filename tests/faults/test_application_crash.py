"""A table and the orders application through twelve crashes: nothing that was accepted is lost, nothing happens twice."""

import http.client
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

KILLS = 12
TEMPLATE = Path(__file__).parents[2] / "examples" / "orders" / "template.yaml"
PATIENCE_S = 60


@dataclass
class Written:
    """The writes of one key, numbered as they were asked for; each sets the whole item."""

    asked: int = 0
    acknowledged: int = 0


@dataclass
class Journal:
    """What clients asked for and what was acknowledged, and what the tables hold at the end."""

    keys: dict[str, Written] = field(default_factory=dict)
    counter: Written = field(default_factory=Written)
    """How many additions of one."""
    sent: list[str] = field(default_factory=list)
    """Orders that were asked for."""
    accepted: list[str] = field(default_factory=list)
    items: dict[str, Any] = field(default_factory=dict)
    orders: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def journal(storm: Any, connect: Callable[..., Any]) -> Journal:
    """A table and the application through the storm, until every accepted order is done."""
    endpoint = storm.server.endpoint
    outputs = deploy(endpoint)
    dynamodb = connect(endpoint, "dynamodb")
    dynamodb.create_table(
        TableName="storm",
        AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    kept = Journal()
    for writer in "ab":
        keys = itertools.cycle([f"{writer}{n}" for n in range(20)])
        storm.run(lambda keys=keys: write(dynamodb, kept, next(keys)))
    storm.run(lambda: count(dynamodb, kept))
    numbers = itertools.count()
    storm.run(lambda: order(storm, outputs["ApiId"], kept, next(numbers)))
    storm.rage(KILLS)
    kept.items = scan(dynamodb, "storm", "key")
    kept.orders = wait_until_done(dynamodb, connect(endpoint, "sqs"), outputs, kept.accepted)
    return kept


def deploy(endpoint: str) -> dict[str, str]:
    """Deploy the application with short timeouts. Returns the stack's outputs."""
    parameters = {
        "PythonRuntime": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "ConsumerTimeout": "2",
        "VisibilityTimeout": "2",
    }
    options = [
        word for name, value in parameters.items() for word in ("--parameter", f"{name}={value}")
    ]
    deployed = subprocess.run(
        [sys.executable, "-m", "penstock", "deploy", str(TEMPLATE), "--stack", "orders", *options],
        env={
            **os.environ,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split(" = ", 1) for line in deployed.stdout.splitlines() if " = " in line)


def item_of(key: str, number: int) -> dict[str, Any]:
    """The item after the write of that number."""
    return {
        "key": {"S": key},
        "number": {"N": str(number)},
        "text": {"S": f"{key} {number} " + "ä" * (number % 100)},
        "bytes": {"B": number.to_bytes(4, "big")},
        "nested": {"M": {"list": {"L": [{"N": str(number)}, {"BOOL": True}, {"NULL": True}]}}},
    }


def write(dynamodb: Any, kept: Journal, key: str) -> None:
    """Write the next state of an item: by PutItem and by UpdateItem in turn."""
    written = kept.keys.setdefault(key, Written())
    written.asked += 1
    number = written.asked
    item = item_of(key, number)
    if number % 2:
        dynamodb.put_item(TableName="storm", Item=item)
    else:
        names = [name for name in item if name != "key"]
        dynamodb.update_item(
            TableName="storm",
            Key={"key": item["key"]},
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in names),
            ExpressionAttributeNames={f"#{name}": name for name in names},
            ExpressionAttributeValues={f":{name}": item[name] for name in names},
        )
    written.acknowledged = number


def count(dynamodb: Any, kept: Journal) -> None:
    """Add one to a counter."""
    kept.counter.asked += 1
    dynamodb.update_item(
        TableName="storm",
        Key={"key": {"S": "counter"}},
        UpdateExpression="ADD additions :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )
    kept.counter.acknowledged += 1


def order(storm: Any, api: str, kept: Journal, number: int) -> None:
    """Order a book by plain HTTP."""
    key = f"order-{number}"
    kept.sent.append(key)
    connection = http.client.HTTPConnection("127.0.0.1", storm.server.port, timeout=10)
    try:
        headers = {"content-type": "application/json", "idempotency-key": key}
        path = f"/restapis/{api}/v1/_user_request_/orders"
        connection.request(
            "POST", path, json.dumps({"product": "book", "quantity": number}), headers
        )
        answer = connection.getresponse()
        document = json.loads(answer.read())
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()
    assert (202, {"id": key, "status": "QUEUED"}) == (answer.status, document)
    kept.accepted.append(key)
    storm.stop.wait(0.01)


def scan(dynamodb: Any, table: str, key: str) -> dict[str, Any]:
    """Every item of a table by its key."""
    pages = dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return {item[key]["S"]: item for page in pages for item in page["Items"]}


def wait_until_done(
    dynamodb: Any, sqs: Any, outputs: dict[str, str], accepted: list[str]
) -> dict[str, Any]:
    """The orders once every accepted one is done.

    A message that was in flight during three crashes has been received three times and is dead-lettered, as it would
    be on AWS; an operator redrives it.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        orders = scan(dynamodb, outputs["TableName"], "id")
        done = [key for key in accepted if orders.get(key, {}).get("status") == {"S": "DONE"}]
        if len(done) == len(accepted) or time.monotonic() > deadline:
            return orders
        dead = sqs.get_queue_attributes(
            QueueUrl=outputs["DeadLetterQueueUrl"], AttributeNames=["ApproximateNumberOfMessages"]
        )
        tasks = sqs.list_message_move_tasks(SourceArn=outputs["DeadLetterQueueArn"])["Results"]
        if dead["Attributes"]["ApproximateNumberOfMessages"] != "0" and (
            not tasks or tasks[0]["Status"] != "RUNNING"
        ):
            sqs.start_message_move_task(SourceArn=outputs["DeadLetterQueueArn"])
        time.sleep(0.1)


def test_items_are_as_last_acknowledged(journal: Journal) -> None:
    """The last acknowledged write of a key stands, whole, unless a later one whose answer was lost has replaced it."""
    wrong = []
    for key, written in journal.keys.items():
        if key not in journal.items and written.acknowledged == 0:
            continue
        found = journal.items.get(key)
        number = int(found["number"]["N"]) if found else 0
        if not written.acknowledged <= number <= written.asked or found != item_of(key, number):
            wrong.append((key, written, found))

    assert sum(written.acknowledged for written in journal.keys.values()) > 100
    assert [] == wrong


def test_additions_are_counted_once(journal: Journal) -> None:
    """An acknowledged addition is neither lost nor carried out twice by a restart."""
    counted = int(journal.items["counter"]["additions"]["N"])

    assert journal.counter.acknowledged > 20
    assert journal.counter.acknowledged <= counted <= journal.counter.asked


def test_accepted_orders_are_done_once(journal: Journal) -> None:
    """What the shop has accepted it delivers, and delivers once, however often the system failed in between."""
    effects = {key: journal.orders.get(key, {}).get("effects") for key in journal.accepted}

    assert len(journal.accepted) > 20
    assert {key: {"N": "1"} for key in journal.accepted} == effects


def test_orders_that_nobody_sent_do_not_exist(journal: Journal) -> None:
    """A crash must not make up messages; an order whose answer was lost may be there, once."""
    assert set() == set(journal.orders) - set(journal.sent)
    assert {"1"} == {item["effects"]["N"] for item in journal.orders.values() if "effects" in item}


def test_function_processes_end_with_a_crashed_server(journal: Journal, storm: Any) -> None:
    """Environments that outlive their server would run old code and hold its memory."""
    assert [] == storm.left_behind
