"""The reference application, deployed by `penstock deploy` and used as its clients use it."""

import hashlib
import hmac
import json
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.aws.test_sns_http import Webhook

SECRET = "a secret of the shop"
STACK = "shop"


@pytest.fixture(scope="module")
def subscriber() -> Iterator[Webhook]:
    """Whoever is to be told of orders."""
    made = Webhook()
    yield made
    made.close()


@pytest.fixture(scope="module")
def shop(
    penstock: Any, orders_folder: Any, open_shop: Callable[[str], Any], subscriber: Webhook
) -> Any:
    """The application with timeouts that a test can wait for."""
    parameters = {
        "PythonRuntime": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "ConsumerTimeout": "2",
        "VisibilityTimeout": "2",
        "WebhookSecret": SECRET,
        "SubscriberUrl": subscriber.url,
    }
    options = [
        word for name, value in parameters.items() for word in ("--parameter", f"{name}={value}")
    ]
    deployed = penstock("deploy", str(orders_folder / "template.yaml"), "--stack", STACK, *options)
    assert 0 == deployed.returncode, deployed.stdout + deployed.stderr
    return open_shop(STACK)


def test_accepted_orders_are_done(shop: Any) -> None:
    """A client is answered at once with an id, and learns by polling that its order was carried out."""
    orders = {shop.place({"product": "book", "quantity": n}): n for n in range(20)}

    shop.wait_until_done(orders)

    assert list(orders.values()) == [
        json.loads(shop.item(id_)["placed"])["quantity"] for id_ in orders
    ]


def test_orders_arrive_byte_for_byte(shop: Any) -> None:
    """What a client sends passes a mapping template, a form and a queue, and must come out as it went in."""
    order = {
        "product": "pen",
        "note": "äöü 漢字 😀 a+b c%20d & e=f \"quoted\" 'single' \\ / ~*\n\ttabbed",
    }

    order_id = shop.place(order)
    shop.wait_until_done([order_id])

    assert order == json.loads(shop.item(order_id)["placed"])


def test_an_order_nobody_knows_is_still_queued(shop: Any) -> None:
    """The template answers for an item that is not there yet, so that polling can begin at once."""
    assert "QUEUED" == shop.status("never-sent")


def test_the_api_answers_under_its_own_host_name(shop: Any) -> None:
    """Clients may use the API's own host name, as on AWS, whatever address it resolves to."""
    host, _, stage = shop.outputs["ApiUrl"].removeprefix("https://").partition("/")
    order_id = shop.place({"product": "lamp"})
    shop.wait_until_done([order_id])

    answer = shop.request("GET", f"/{stage}/orders/{order_id}", headers={"host": host})

    assert (200, {"id": order_id, "status": "DONE"}) == answer


def test_one_request_sent_twice_has_one_effect(shop: Any, eventually: Any) -> None:
    """A client that lost its answer sends again under the same key; the order must not be carried out twice."""
    keys = [f"twice-{n}" for n in range(10)]
    senders = [
        threading.Thread(target=shop.place, args=({"product": "book"}, key)) for key in keys * 2
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()

    shop.wait_until_done(keys)
    eventually(lambda: left_in_queue(shop), lambda count: count == 0)

    assert ["1"] * 10 == [shop.item(key)["effects"] for key in keys]


def test_webhooks_need_their_signature(shop: Any) -> None:
    """Anyone can reach a webhook's address: only what the sender has signed becomes an order."""
    body = b'{"product": "lamp", "quantity": 1}'
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    path = f"{shop.base}/webhooks/payments"
    plain = {"content-type": "application/json"}

    unsigned = shop.request("POST", path, body, plain)
    forged = shop.request("POST", path, body, plain | {"x-signature": "0" * 64})
    status, signed = shop.request(
        "POST", path, body, plain | {"x-signature": signature, "x-webhook-id": "hook-1"}
    )

    refused = {"message": "The signature is missing or wrong."}
    assert (401, refused) == unsigned
    assert (401, refused) == forged
    assert (202, {"id": "hook-1", "status": "QUEUED"}) == (status, signed)
    shop.wait_until_done(["hook-1"])


def test_a_subscriber_is_told_of_what_is_carried_out(shop: Any, subscriber: Webhook) -> None:
    """The webhook of the template hears of every order that is done, once it has confirmed its subscription."""
    letter = json.loads(subscriber.wait(1)[0][1])
    urllib.request.urlopen(letter["SubscribeURL"]).close()

    ids = [shop.place({"product": product}) for product in ("book", "pen")]
    told = [json.loads(json.loads(body)["Message"]) for _, body in subscriber.wait(3)[1:3]]

    assert sorted(one["id"] for one in told) == sorted(ids)
    assert {one["status"] for one in told} == {"DONE"}
    shop.wait_until_done(ids)


def test_message_without_a_request_id_fails_alone(shop: Any, eventually: Any) -> None:
    """Anybody who may send to the queue can send such a message; the orders beside it must still be done."""
    before = dead_letters(shop)
    order = {
        "MessageBody": '{"product": "book"}',
        "MessageAttributes": {"RequestId": {"DataType": "String", "StringValue": "beside"}},
    }
    entries = [{"Id": "a", **order}, {"Id": "b", "MessageBody": '{"product": "book"}'}]

    shop.sqs.send_message_batch(QueueUrl=shop.outputs["QueueUrl"], Entries=entries)
    shop.wait_until_done(["beside"])
    eventually(lambda: dead_letters(shop), lambda count: count == before + 1)

    assert ("1", "1") == (shop.item("beside")["attempts"], shop.item("beside")["effects"])
    shop.sqs.purge_queue(QueueUrl=shop.outputs["DeadLetterQueueUrl"])


def test_poison_is_set_aside_and_redriven(shop: Any, aws: Any, eventually: Any) -> None:
    """A message that cannot be processed must not hold up its neighbours, is tried three times, and is not lost."""
    products = ["book"] * 4 + ["unicorn"] + ["lamp"] * 5
    ids = [f"batch-{n}" for n in range(10)]
    entries = [
        {
            "Id": id_,
            "MessageBody": json.dumps({"product": product}),
            "MessageAttributes": {"RequestId": {"DataType": "String", "StringValue": id_}},
        }
        for id_, product in zip(ids, products, strict=True)
    ]
    good = [id_ for id_ in ids if id_ != "batch-4"]

    shop.sqs.send_message_batch(QueueUrl=shop.outputs["QueueUrl"], Entries=entries)
    shop.wait_until_done(good)
    eventually(lambda: dead_letters(shop), lambda count: count == 1)

    assert [("1", "1")] * 9 == [
        (shop.item(id_)["attempts"], shop.item(id_)["effects"]) for id_ in good
    ]
    poison = shop.item("batch-4")
    assert ("FAILED", "3", None) == (poison["status"], poison["attempts"], poison.get("effects"))

    extend_catalogue(aws("lambda"), shop.outputs["ConsumerName"], "unicorn")
    shop.sqs.start_message_move_task(SourceArn=shop.outputs["DeadLetterQueueArn"])
    shop.wait_until_done(["batch-4"])

    assert "1" == shop.item("batch-4")["effects"]
    assert 0 == dead_letters(shop)


def test_the_consumer_keeps_its_concurrency(shop: Any, aws: Any, eventually: Any) -> None:
    """MaximumConcurrency protects a database with few connections: not even a burst may exceed it."""
    burst = [{"product": "pen", "quantity": n} for n in range(150)]
    ids = [shop.place(order) for order in burst]
    shop.wait_until_done(ids)

    events = eventually(lambda: log_of(aws("logs"), shop.outputs["ConsumerName"]), is_complete)

    running = most = 0
    # An end and a start of the same millisecond are no overlap.
    for _, starts in sorted((at, text.startswith("START")) for at, text in events):
        running += 1 if starts else -1
        most = max(most, running)
    assert 1 <= most <= 2


def dead_letters(shop: Any) -> int:
    """How many messages wait in the dead-letter queue."""
    answer = shop.sqs.get_queue_attributes(
        QueueUrl=shop.outputs["DeadLetterQueueUrl"], AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def left_in_queue(shop: Any) -> int:
    """How many messages the consumer has still to take or to finish."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = shop.sqs.get_queue_attributes(QueueUrl=shop.outputs["QueueUrl"], AttributeNames=names)
    return sum(int(answer["Attributes"][name]) for name in names)


def extend_catalogue(functions: Any, name: str, product: str) -> None:
    """Teach the consumer one more product."""
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    variables["CATALOGUE"] += f",{product}"
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def log_of(logs: Any, function: str) -> list[tuple[int, str]]:
    """When invocations started and ended."""
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{function}")
    return [
        (event["timestamp"], event["message"])
        for page in pages
        for event in page["events"]
        if event["message"].startswith(("START ", "END "))
    ]


def is_complete(events: list[tuple[int, str]]) -> bool:
    """Whether every invocation that started has ended."""
    starts = sum(text.startswith("START ") for _, text in events)
    return starts * 2 == len(events) > 0
