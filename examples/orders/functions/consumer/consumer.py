"""Takes orders from the queue in batches. An order that fails is reported alone; its neighbours are done.

Every order has a request id, and everything that it changes hangs on a condition: the same request delivered twice, or
sent twice, has one effect. A batch needs two transactions, and one publish where somebody subscribes, however
many orders it has.
"""

import json
import os
import time

import boto3

TABLE = os.environ["TABLE"]
CATALOGUE = frozenset(os.environ["CATALOGUE"].split(","))
TOPIC = os.environ.get("TOPIC")
dynamodb = boto3.client("dynamodb")
sns = boto3.client("sns")


class UnknownProduct(Exception):
    """The catalogue does not have what was ordered."""


def handler(event, context):
    """Process a batch; name the messages that are to be tried again."""
    messages, failures, done = {}, [], []
    for record in event["Records"]:
        try:
            order_id = record["messageAttributes"]["RequestId"]["stringValue"]
        except KeyError:
            print(f"message {record['messageId']} has no request id")
            failures.append(record["messageId"])
        else:
            messages.setdefault(order_id, []).append(record)
    # What is missing from the answer was done before, by another copy of the same request.
    begun = advance({order_id: begin(order_id) for order_id in messages})
    ends = {}
    for order_id in begun:
        try:
            ends[order_id] = finish(order_id, check(messages[order_id][0]["body"]))
            done.append(order_id)
        except Exception as error:  # whatever it is, it harms no other order
            print(f"order {order_id} failed: {error!r}")
            ends[order_id] = fail(order_id)
            failures += [record["messageId"] for record in messages[order_id]]
    # Told before it is written down: whoever subscribes may hear of an order twice, and always hears of it.
    tell(done)
    advance(ends)
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failures]}


def tell(order_ids):
    """Publish that orders are carried out, if somebody subscribes. A batch of the queue fits one of the topic."""
    entries = [
        {"Id": str(number), "Message": json.dumps({"id": order_id, "status": "DONE"})}
        for number, order_id in enumerate(order_ids)
    ]
    if entries and TOPIC:
        sns.publish_batch(TopicArn=TOPIC, PublishBatchRequestEntries=entries)


def check(body):
    """The order that a message holds. Raises for one that cannot be carried out."""
    order = json.loads(body)
    if order["product"] not in CATALOGUE:
        raise UnknownProduct(order["product"])
    return order


def begin(order_id):
    """From QUEUED or FAILED to PROCESSING."""
    return update(order_id, "PROCESSING", "ADD attempts :one", {":one": {"N": "1"}})


def finish(order_id, order):
    """From PROCESSING to DONE. What an order does to the shop is `effects`: it must never move twice."""
    values = {":one": {"N": "1"}, ":order": {"S": json.dumps(order)}}
    return update(order_id, "DONE", ", placed = :order ADD effects :one", values)


def fail(order_id):
    """From PROCESSING to FAILED."""
    return update(order_id, "FAILED", "", {})


def update(order_id, status, more, values):
    """An update of one order, on condition that it is not done."""
    return {
        "Update": {
            "TableName": TABLE,
            "Key": {"id": {"S": order_id}},
            "UpdateExpression": f"SET #status = :status, updated_at = :now {more}",
            "ConditionExpression": "attribute_not_exists(#status) OR #status <> :done",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": {
                ":status": {"S": status},
                ":done": {"S": "DONE"},
                ":now": {"N": str(time.time_ns() // 1_000_000)},
                **values,
            },
        }
    }


def advance(updates):
    """Apply updates by order id, all at once, without those of orders that are done. Returns the ids applied."""
    updates = dict(updates)
    while updates:
        try:
            dynamodb.transact_write_items(TransactItems=list(updates.values()))
            break
        except dynamodb.exceptions.TransactionCanceledException as error:
            codes = [reason["Code"] for reason in error.response["CancellationReasons"]]
            if not {"None", "ConditionalCheckFailed"}.issuperset(codes):
                raise
            updates = {
                order_id: one
                for (order_id, one), code in zip(updates.items(), codes, strict=True)
                if code == "None"
            }
    return list(updates)
