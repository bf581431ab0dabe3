"""The work: each scenario prepares a system with boto3 and says which requests to send."""

import base64
import contextlib
import io
import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

from bench.systems import ROOT, System, private_mb, processes

BODY = "x" * 200
HIGH_THROUGHPUT = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
GROUP_CALLS = 280  # a second and group; AWS takes 300
ROLE = "arn:aws:iam::000000000000:role/bench"
ECHO = "def handler(event, context):\n    return event\n"
COLD = """import boto3
client = boto3.client("sqs")
def handler(event, context):
    return 1
"""
Request = tuple[str, str, dict[str, str], str]


def load(
    system: System,
    requests: list[Request],
    *,
    connections: int = 64,
    seconds: float = 3,
    once: bool = False,
    count: int = 0,
    cycle: bool = False,
) -> dict[str, Any]:
    """Drive a system from another process, for `seconds`, with each request once, or with so many.

    Returns rate and latencies.
    """
    count = len(requests) if once else count
    job = {
        "host": "127.0.0.1",
        "port": system.port,
        "connections": connections,
        "seconds": 60 if count else seconds,
        "count": count,
        "cycle": cycle,
        "requests": requests,
    }
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "load.py")],
        input=json.dumps(job).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    if result["errors"] > result["done"] * 0.001:
        raise RuntimeError(f"{system.name}: {result['errors']} errors: {result['first_error']}")
    return result


def headers(service: str, target: str | None = None) -> dict[str, str]:
    """What an SDK sends; the signature is not verified by either system."""
    result = {
        "authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request,"
        " SignedHeaders=host;x-amz-date, Signature=" + "0" * 64,
        "x-amz-date": "20260101T000000Z",
    }
    if target is not None:
        result |= {"x-amz-target": target, "content-type": "application/x-amz-json-1.0"}
    return result


def send(system: System) -> list[Request]:
    """SendMessage, 200 bytes."""
    url = system.client("sqs").create_queue(QueueName="bench-send")["QueueUrl"]
    body = json.dumps({"QueueUrl": url, "MessageBody": BODY})
    return [("POST", "/", headers("sqs", "AmazonSQS.SendMessage"), body)]


def send_fifo(system: System) -> list[Request]:
    """SendMessage to a FIFO queue, 200 bytes, one group for each of 1,000 customers.

    Messages repeat, so they are told apart by ids that never do: a rate over what the five minutes forget is no rate.
    """
    url = system.client("sqs").create_queue(
        QueueName="bench-send.fifo", Attributes={"FifoQueue": "true", **HIGH_THROUGHPUT}
    )["QueueUrl"]
    target = headers("sqs", "AmazonSQS.SendMessage")
    return [
        (
            "POST",
            "/",
            target,
            json.dumps(
                {
                    "QueueUrl": url,
                    "MessageBody": BODY,
                    "MessageGroupId": f"customer-{n % 1000}",
                    "MessageDeduplicationId": f"{n}-{time.time_ns()}",
                }
            ),
        )
        for n in range(80_000)
    ]


def cycle(system: System) -> list[Request]:
    """A batch of ten sent; ten received; and deleted: three requests that the load generator fills in."""
    url = system.client("sqs").create_queue(QueueName="bench-cycle")["QueueUrl"]
    entries = [{"Id": str(n), "MessageBody": BODY} for n in range(10)]
    bodies = {
        "SendMessageBatch": {"QueueUrl": url, "Entries": entries},
        "ReceiveMessage": {"QueueUrl": url, "MaxNumberOfMessages": 10},
        "DeleteMessageBatch": {"QueueUrl": url},
    }
    return [
        ("POST", "/", headers("sqs", f"AmazonSQS.{name}"), json.dumps(body))
        for name, body in bodies.items()
    ]


def api(system: System) -> list[Request]:
    """POST to a REST API whose AWS integration sends to SQS through a Velocity template."""
    system.client("sqs").create_queue(QueueName="bench-api")
    gateway = system.client("apigateway")
    api_id = gateway.create_rest_api(name="bench")["id"]
    root = gateway.get_resources(restApiId=api_id)["items"][0]["id"]
    where: dict[str, Any] = {
        "restApiId": api_id,
        "resourceId": gateway.create_resource(restApiId=api_id, parentId=root, pathPart="orders")[
            "id"
        ],
        "httpMethod": "POST",
    }
    gateway.put_method(**where, authorizationType="NONE")
    gateway.put_method_response(**where, statusCode="200")
    gateway.put_integration(
        **where,
        type="AWS",
        integrationHttpMethod="POST",
        credentials=ROLE,
        uri="arn:aws:apigateway:us-east-1:sqs:path/000000000000/bench-api",
        requestParameters={
            "integration.request.header.Content-Type": "'application/x-www-form-urlencoded'"
        },
        requestTemplates={
            "application/json": "Action=SendMessage&MessageBody=$util.urlEncode($input.body)"
        },
    )
    gateway.put_integration_response(
        **where,
        statusCode="200",
        responseTemplates={"application/json": '{"id":"$context.requestId"}'},
    )
    gateway.create_deployment(restApiId=api_id, stageName="v1")
    path = f"/restapis/{api_id}/v1/_user_request_/orders"
    return [("POST", path, {"content-type": "application/json"}, json.dumps({"order": BODY}))]


def make_table(system: System) -> None:
    """A table with a hash key."""
    system.client("dynamodb").create_table(
        TableName="bench",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )


def put(system: System) -> list[Request]:
    """PutItem, 200 bytes, 1,000 keys."""
    make_table(system)
    target = headers("dynamodb", "DynamoDB_20120810.PutItem")
    item = {"body": {"S": BODY}, "n": {"N": "1"}}
    return [
        (
            "POST",
            "/",
            target,
            json.dumps({"TableName": "bench", "Item": {"id": {"S": f"k{n}"}, **item}}),
        )
        for n in range(1000)
    ]


def get(system: System) -> list[Request]:
    """GetItem of what `put` wrote."""
    target = headers("dynamodb", "DynamoDB_20120810.GetItem")
    return [
        ("POST", "/", target, json.dumps({"TableName": "bench", "Key": {"id": {"S": f"k{n}"}}}))
        for n in range(1000)
    ]


def zipped(name: str, source: str) -> bytes:
    """A package with one module."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, source)
    return buffer.getvalue()


def make_function(system: System, name: str, source: str, **options: Any) -> None:
    """A Python function, and the role that it needs."""
    iam = system.client("iam")
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(
            RoleName="bench", AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[]}'
        )
    system.client("lambda").create_function(
        FunctionName=name,
        Runtime=f"python3.{sys.version_info.minor}",
        Role=ROLE,
        Handler="main.handler",
        Code={"ZipFile": zipped("main.py", source)},
        Timeout=30,
        **options,
    )


def invoke(system: System) -> list[Request]:
    """Warm synchronous Invoke of an echo. Four connections are enough to fill two cores."""
    make_function(system, "echo", ECHO)
    for _ in range(3):
        system.client("lambda").invoke(FunctionName="echo", Payload=b"{}")
    return [
        ("POST", "/2015-03-31/functions/echo/invocations", headers("lambda"), '{"hello": "world"}')
    ]


def runtime_limit(environments: int = 4, seconds: float = 3) -> float:
    """Events a second that awslambdaric takes from an empty Runtime API."""
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "bench" / "runtime_limit.py"),
            str(environments),
            str(seconds),
        ],
        stdout=subprocess.PIPE,
        check=True,
    )
    return float(done.stdout)


def accept(system: System) -> list[Request]:
    """Asynchronous Invoke of an echo."""
    make_function(system, "events", ECHO)
    system.client("lambda").invoke(FunctionName="events", Payload=b"{}")
    sent = headers("lambda") | {"x-amz-invocation-type": "Event"}
    return [("POST", "/2015-03-31/functions/events/invocations", sent, '{"hello": "world"}')]


def drain(system: System, events: int = 3000) -> dict[str, float]:
    """Asynchronous events done per second once all are accepted, as a success destination hears of them; and synchronous ones."""
    sync = load(system, invoke(system), connections=4)["rate"]
    sqs, functions = system.client("sqs"), system.client("lambda")
    url = sqs.create_queue(QueueName="bench-told")["QueueUrl"]
    arn = "arn:aws:sqs:us-east-1:000000000000:bench-told"
    make_function(system, "drained", ECHO)
    functions.put_function_event_invoke_config(
        FunctionName="drained", DestinationConfig={"OnSuccess": {"Destination": arn}}
    )
    functions.invoke(FunctionName="drained", Payload=b"{}")
    sent = headers("lambda") | {"x-amz-invocation-type": "Event"}
    request = ("POST", "/2015-03-31/functions/drained/invocations", sent, '{"hello": "world"}')
    load(system, [request] * events, connections=64, once=True)

    def told() -> int:
        answer = sqs.get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
        )
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    started, before = time.perf_counter(), told()
    while told() < events:
        time.sleep(0.02)
    rate = (events - before) / (time.perf_counter() - started)
    return {"asynchronous": round(rate, 1), "synchronous": sync}


def functions(system: System, count: int = 10_000) -> dict[str, float]:
    """MB that functions cost: deployed ones for all together, and one idle environment by itself."""
    before = system.memory_mb()
    make_function(system, "first", ECHO)
    code = base64.b64encode(zipped("main.py", ECHO)).decode()
    create = {
        "Runtime": f"python3.{sys.version_info.minor}",
        "Role": ROLE,
        "Handler": "main.handler",
        "Code": {"ZipFile": code},
    }
    requests = [
        (
            "POST",
            "/2015-03-31/functions",
            headers("lambda") | {"content-type": "application/json"},
            json.dumps(create | {"FunctionName": f"bench-{n}"}),
        )
        for n in range(count)
    ]
    load(system, requests, connections=8, once=True)
    deployed = system.memory_mb() - before
    known = set(processes(system))
    system.client("lambda").invoke(FunctionName="first", Payload=b"{}")
    own = [private_mb(pid) for pid in processes(system) if pid not in known]
    return {"MB for all": round(deployed, 1), "MB of an environment": round(max(own), 1)}


def cold(system: System, rounds: int = 5) -> float:
    """Median ms of the first invocation of a new function that imports boto3 and makes a client."""
    client = system.client("lambda")
    times = []
    for n in range(rounds + 1):
        make_function(system, f"cold-{n}", COLD)
        started = time.perf_counter()
        answer = client.invoke(FunctionName=f"cold-{n}", Payload=b"{}")
        times.append((time.perf_counter() - started) * 1000)
        if answer.get("FunctionError"):
            raise RuntimeError(f"{system.name}: {answer['Payload'].read()!r}")
    # The first one also pays for what the system sets up once.
    return sorted(times[1:])[rounds // 2]


def pipeline(system: System, orders: int = 1500) -> float:
    """The orders application's queue, consumer and table: orders per second from the first send to the last settled message."""
    sqs, dynamodb = system.client("sqs"), system.client("dynamodb")
    url = sqs.create_queue(QueueName="bench-orders", Attributes={"VisibilityTimeout": "60"})[
        "QueueUrl"
    ]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    make_table(system)
    source = (ROOT / "examples" / "orders" / "functions" / "consumer" / "consumer.py").read_text()
    environment = {"TABLE": "bench", "CATALOGUE": "book,lamp,pen"}
    make_function(system, "consumer", source, Environment={"Variables": environment})
    system.client("lambda").create_event_source_mapping(
        EventSourceArn=arn,
        FunctionName="consumer",
        BatchSize=10,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        ScalingConfig={"MaximumConcurrency": 2},
    )
    load(system, _orders(url, 20, "warm"), connections=1, once=True)
    _await_empty(sqs, url)
    requests = _orders(url, orders, "order")
    started = time.perf_counter()
    load(system, requests, connections=2, once=True)
    _await_empty(sqs, url)
    rate = orders / (time.perf_counter() - started)
    _check_done(dynamodb, orders + 20)
    return rate


def _orders(url: str, count: int, prefix: str) -> list[Request]:
    """Orders in batches of ten, as requests: what sending costs must not be what is measured."""
    order = json.dumps({"product": "book", "quantity": 1})
    target = headers("sqs", "AmazonSQS.SendMessageBatch")
    requests: list[Request] = []
    for first in range(0, count, 10):
        entries = [
            {
                "Id": str(n),
                "MessageBody": order,
                "MessageAttributes": {
                    "RequestId": {"DataType": "String", "StringValue": f"{prefix}-{n}"}
                },
            }
            for n in range(first, min(first + 10, count))
        ]
        requests.append(("POST", "/", target, json.dumps({"QueueUrl": url, "Entries": entries})))
    return requests


def _await_empty(sqs: Any, url: str) -> None:
    """Wait until no message is left, visible or in flight: a look that costs both systems little."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    deadline = time.monotonic() + 180
    while True:
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        left = sum(int(value) for value in answer.values())
        if not left:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{left} orders are left")
        time.sleep(0.05)


def _check_done(dynamodb: Any, count: int) -> None:
    """Every order must be DONE, or the rate means nothing."""
    done = 0
    for page in dynamodb.get_paginator("scan").paginate(
        TableName="bench",
        Select="COUNT",
        FilterExpression="#s = :d",
        ExpressionAttributeNames={"#s": "status"},
        ExpressionAttributeValues={":d": {"S": "DONE"}},
    ):
        done += page["Count"]
    if done != count:
        raise RuntimeError(f"{done} of {count} orders are done")


def backlog(system: System, small: int = 60_000, large: int = 1_000_000) -> dict[str, float]:
    """Sends, and receives of ten without deletes, per second, in a small queue and in one with a backlog.

    Both are measured in the same way; the small one holds enough not to run dry while it is read.
    """
    sqs = system.client("sqs")
    rates: dict[str, float] = {}
    for label, depth in (("small", small), ("full", large)):
        url = sqs.create_queue(QueueName=f"bench-{label}")["QueueUrl"]
        _fill(system, url, depth)
        body = json.dumps({"QueueUrl": url, "MessageBody": BODY})
        rates[f"send {label}"] = load(
            system, [("POST", "/", headers("sqs", "AmazonSQS.SendMessage"), body)]
        )["rate"]
        body = json.dumps({"QueueUrl": url, "MaxNumberOfMessages": 10})
        target = headers("sqs", "AmazonSQS.ReceiveMessage")
        rates[f"receive {label}"] = load(
            system, [("POST", "/", target, body)], connections=8, seconds=1
        )["rate"]
    return rates


def group(system: System, large: int = 216_000) -> dict[str, float]:
    """Messages received in tens and deleted per second, from a FIFO group that is short and from one that is long."""
    rates: dict[str, float] = {}
    sqs = system.client("sqs")
    for label, depth in (("short", 20_000), ("long", large)):
        url = sqs.create_queue(
            QueueName=f"bench-{label}.fifo", Attributes={"FifoQueue": "true", **HIGH_THROUGHPUT}
        )["QueueUrl"]
        _fill_group(system, url, depth)
        requests = [
            ("POST", "/", headers("sqs", f"AmazonSQS.{name}"), json.dumps(body))
            for name, body in (
                ("SendMessageBatch", {"QueueUrl": url, "Entries": _grouped(time.time_ns())}),
                ("ReceiveMessage", {"QueueUrl": url, "MaxNumberOfMessages": 10}),
                ("DeleteMessageBatch", {"QueueUrl": url}),
            )
        ]
        # What the cycle sends are duplicates after the first time: it drains.
        rates[label] = load(system, requests, connections=1, seconds=3, cycle=True)["rate"]
    return rates


def _grouped(first: int) -> list[dict[str, str]]:
    return [
        {
            "Id": str(n),
            "MessageBody": BODY,
            "MessageGroupId": "one",
            "MessageDeduplicationId": str(first + n),
        }
        for n in range(10)
    ]


def _fill_group(system: System, url: str, depth: int) -> None:
    """Send in tens, no faster than a group may: AWS takes 300 calls a second."""
    target = headers("sqs", "AmazonSQS.SendMessageBatch")
    started = time.time_ns()
    requests = [
        ("POST", "/", target, json.dumps({"QueueUrl": url, "Entries": _grouped(started + first)}))
        for first in range(0, depth, 10)
    ]
    for first in range(0, len(requests), GROUP_CALLS):
        began = time.monotonic()
        load(system, requests[first : first + GROUP_CALLS], connections=8, once=True)
        time.sleep(max(0.0, 1.1 - (time.monotonic() - began)))


def queues(system: System, count: int = 10_000) -> dict[str, float]:
    """What queues cost: MB for all, and sends per second to one before and after."""
    target = headers("sqs", "AmazonSQS.CreateQueue")
    sending = send(system)
    figures = {"send before": load(system, sending)["rate"]}
    before = system.memory_mb()
    names = [json.dumps({"QueueName": f"bench-{n}"}) for n in range(count)]
    load(system, [("POST", "/", target, name) for name in names], connections=8, once=True)
    figures["MB"] = round(system.memory_mb() - before, 1)
    figures["send after"] = load(system, sending)["rate"]
    return figures


def _fill(system: System, url: str, depth: int) -> None:
    entries = [{"Id": str(n), "MessageBody": BODY} for n in range(10)]
    body = json.dumps({"QueueUrl": url, "Entries": entries})
    sqs = system.client("sqs")
    target = headers("sqs", "AmazonSQS.SendMessageBatch")
    while True:
        load(system, [("POST", "/", target, body)], seconds=10 if depth > 100_000 else 1)
        answer = sqs.get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
        )
        if int(answer["Attributes"]["ApproximateNumberOfMessages"]) >= depth:
            return


def save(results: dict[str, Any]) -> Path:
    """Keep the figures of a run."""
    folder = ROOT / "bench" / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(results, indent=1))
    return path
