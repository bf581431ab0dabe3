"""Takes orders from the queue in batches. An order that fails is reported alone; its neighbours are done.

Every order has a request id, and everything it changes hangs on one conditional write per step: the same request
delivered twice, or sent twice, has one effect.
"""

import json
import os
import time

import boto3
from botocore.exceptions import ClientError

TABLE = os.environ["TABLE"]
CATALOGUE = frozenset(os.environ["CATALOGUE"].split(","))
dynamodb = boto3.client("dynamodb")


class UnknownProduct(Exception):
    """The catalogue does not have what was ordered."""


def handler(event, context):
    """Process a batch; name the messages that are to be tried again."""
    failures = []
    for record in event["Records"]:
        try:
            process(record)
        except Exception as error:
            print(f"order {record['messageId']} failed: {error!r}")
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


def process(record):
    """Bring one order to DONE, or to FAILED and raise."""
    order_id = record["messageAttributes"]["RequestId"]["stringValue"]
    if not advance(order_id, "PROCESSING", count_attempt=True):
        return  # done before, by another copy of the same request
    try:
        order = json.loads(record["body"])
        if order["product"] not in CATALOGUE:
            raise UnknownProduct(order["product"])
    except Exception:
        advance(order_id, "FAILED")
        raise
    advance(order_id, "DONE", order)


def advance(order_id, status, order=None, count_attempt=False):
    """Set the status of an order that is not done. Returns whether it was not."""
    update = "SET #status = :status, updated_at = :now"
    values = {
        ":status": {"S": status},
        ":done": {"S": "DONE"},
        ":now": {"N": str(time.time_ns() // 1_000_000)},
    }
    if order is not None:
        update += ", #order = :order"
        values[":order"] = {"S": json.dumps(order)}
    if status == "DONE":
        # What an order does to the shop is this counter; it must never move twice for one request.
        update += " ADD effects :one"
        values[":one"] = {"N": "1"}
    elif count_attempt:
        update += " ADD attempts :one"
        values[":one"] = {"N": "1"}
    names = {"#status": "status"}
    if order is not None:
        names["#order"] = "order"
    try:
        dynamodb.update_item(
            TableName=TABLE,
            Key={"id": {"S": order_id}},
            UpdateExpression=update,
            ConditionExpression="attribute_not_exists(#status) OR #status <> :done",
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return False
    return True
