"""Takes payment webhooks: verifies the signature, puts the order into the queue, answers at once."""

import base64
import hashlib
import hmac
import json
import os

import boto3

SECRET = os.environ["SECRET"].encode()
QUEUE_URL = os.environ["QUEUE_URL"]
sqs = boto3.client("sqs")


def handler(event, context):
    """202 with the request's id for a signed webhook, 401 for any other."""
    body = event.get("body") or ""
    data = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    expected = hmac.new(SECRET, data, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, headers.get("x-signature", "")):
        return answer(401, {"message": "The signature is missing or wrong."})
    order_id = headers.get("x-webhook-id") or event["requestContext"]["requestId"]
    sqs.send_message(
        QueueUrl=QUEUE_URL,
        MessageBody=data.decode(),
        MessageAttributes={"RequestId": {"DataType": "String", "StringValue": order_id}},
    )
    return answer(202, {"id": order_id, "status": "QUEUED"})


def answer(status, document):
    """A response of the Lambda proxy integration."""
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(document),
    }
