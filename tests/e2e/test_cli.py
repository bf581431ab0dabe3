"""The command line, as a user runs it."""

import http.server
import io
import json
import re
import socket
import socketserver
import struct
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.trust import TRUST

Aws = Callable[..., Any]
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"


def make_function(client: Aws, name: str, source: str, **settings: Any) -> Any:
    """A function of one file. Returns the client of its service."""
    role = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
    functions = client("lambda")
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", source)
    functions.create_function(
        FunctionName=name,
        Runtime=RUNTIME,
        Role=role["Role"]["Arn"],
        Handler="app.handler",
        Code={"ZipFile": package.getvalue()},
        **settings,
    )
    functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    return functions


def make_queues(sqs: Any, name: str) -> str:
    """A queue whose messages are dead after one receive, and its dead-letter queue. Returns the URL of the first."""
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    queue = sqs.create_queue(
        QueueName=name, Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"}
    )
    return str(queue["QueueUrl"])


def row_of(table: str, name: str) -> list[str]:
    """The cells of a queue's row in a printed table."""
    (row,) = [line for line in table.splitlines() if line.strip(" │").startswith(f"{name} ")]
    return [cell.strip() for cell in row.strip(" │").split("│")]


def test_queues_and_redrive(aws: Aws, penstock: Any, unique: str) -> None:
    """An operator sees that messages have died, sends them back with one command, and sees that they are back."""
    sqs = aws("sqs")
    url = make_queues(sqs, unique)
    for body in ("one", "two"):
        sqs.send_message(QueueUrl=url, MessageBody=body)
    while sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        pass

    before = penstock("queues")
    moved = penstock("redrive", f"{unique}-dead")
    after = penstock("queues")

    assert [unique, "0", "0", "0", "0 s", "2"] == row_of(before.stdout, unique)
    assert (0, "2 messages moved") == (moved.returncode, moved.stdout.splitlines()[-1])
    assert ["2", "0", "0"] == row_of(after.stdout, unique)[1:4]
    assert "0" == row_of(after.stdout, unique)[-1]


def test_one_message_is_not_many(aws: Aws, penstock: Any, unique: str) -> None:
    """What a user reads after each command is English."""
    sqs = aws("sqs")
    url = make_queues(sqs, unique)
    sqs.send_message(QueueUrl=url, MessageBody="one")
    while sqs.receive_message(QueueUrl=url).get("Messages"):
        pass

    assert "1 message moved" == penstock("redrive", f"{unique}-dead").stdout.splitlines()[-1]


def test_queues_of_one_region_and_account(endpoint: str, connect: Aws, shell: Any) -> None:
    """Queues of the same name elsewhere are others: what is shown is where the other commands work."""
    places = [("test", "us-east-1"), ("test", "eu-west-1"), ("111122223333", "us-east-1")]
    for account, region in places:
        connect(endpoint, "sqs", region_name=region, aws_access_key_id=account).create_queue(
            QueueName=f"of-{account}-in-{region}"
        )

    for account, region in places:
        ended = shell(
            "env",
            f"AWS_ACCESS_KEY_ID={account}",
            f"AWS_DEFAULT_REGION={region}",
            *(sys.executable, "-m", "penstock", "queues"),
        )

        assert f"Queues in {region} at {endpoint}" in ended.stdout
        shown = {word for word in ended.stdout.split() if word.startswith("of-")}
        assert {f"of-{account}-in-{region}"} == shown


def test_redrive_explains_what_it_cannot_do(penstock: Any, unique: str) -> None:
    """A mistyped queue is answered in one line, without a traceback."""
    ended = penstock("redrive", unique)

    assert 1 == ended.returncode
    assert "The specified queue does not exist." in ended.stderr
    assert 1 == len(ended.stderr.splitlines())


def test_logs(aws: Aws, penstock: Any, unique: str, eventually: Any) -> None:
    """`penstock logs` shows what a function printed, between the lines that Lambda writes."""
    functions = make_function(
        aws, unique, "def handler(event, context):\n    print('hello', event)\n"
    )
    functions.invoke(FunctionName=unique, Payload=b'"you"')

    shown = eventually(lambda: penstock("logs", unique), lambda ended: "REPORT" in ended.stdout)

    kinds = [line.split()[1] for line in shown.stdout.splitlines()]
    assert ["INIT_START", "START", "hello", "END", "REPORT"] == kinds

    group = {"LogGroup": f"/team/{unique}"}
    functions.update_function_configuration(FunctionName=unique, LoggingConfig=group)
    functions.get_waiter("function_updated_v2").wait(FunctionName=unique)
    functions.invoke(FunctionName=unique, Payload=b'"there"')
    moved = eventually(lambda: penstock("logs", unique), lambda ended: "there" in ended.stdout)
    assert "you" not in moved.stdout


def test_logs_of_nothing(penstock: Any, unique: str) -> None:
    """A function that never ran has no log, which is said in one line."""
    ended = penstock("logs", unique)

    assert 1 == ended.returncode
    assert f"there is no log group /aws/lambda/{unique}" in ended.stderr
    assert 1 == len(ended.stderr.splitlines())


def test_doctor(penstock: Any, tmp_path: Path) -> None:
    """The doctor finds the running server and a usable data folder."""
    ended = penstock("doctor", "--data", str(tmp_path / "data"))

    assert 0 == ended.returncode, ended.stdout
    assert "Penstock 0.1.0 answers at" in ended.stdout
    assert "is writable" in ended.stdout


def test_doctor_says_that_node_has_no_sdk(penstock: Any, tmp_path: Path) -> None:
    """On AWS Node.js brings `@aws-sdk/*`: who finds a runtime here must not find out by a function that fails."""
    ended = penstock("doctor", "--data", str(tmp_path / "data"))
    told = " ".join(ended.stdout.split())
    installed = re.findall(r"nodejs\S+: /", told)
    assert told.count("without the AWS SDK: package @aws-sdk/* with the function") == len(installed)


def test_doctor_where_nothing_runs(penstock: Any, tmp_path: Path) -> None:
    """That nothing runs is no defect: the port is free."""
    ended = penstock("doctor", "--data", str(tmp_path), at="http://127.0.0.1:9")

    assert 0 == ended.returncode, ended.stdout
    assert "nothing else answers at http://127.0.0.1:9" in ended.stdout


def test_commands_explain_that_nothing_runs(penstock: Any) -> None:
    """The most frequent mistake, a server that is not started, is answered in one line."""
    for command in (["queues"], ["logs", "any"], ["redrive", "any"]):
        ended = penstock(*command, at="http://127.0.0.1:9")

        assert 1 == ended.returncode
        assert 1 == len(ended.stderr.splitlines()), ended.stderr


class Html(http.server.BaseHTTPRequestHandler):
    """Another program that speaks HTTP, as many listen on a developer's machine."""

    def do_GET(self) -> None:
        """Answer as a web page does, whatever was asked."""
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(200)
        self.send_header("Content-Length", "13")
        self.end_headers()
        self.wfile.write(b"<p>Hello.</p>")

    do_POST = do_GET
    do_PUT = do_GET

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class Rude(socketserver.BaseRequestHandler):
    """A program that speaks something else."""

    def handle(self) -> None:
        """Answer in another protocol."""
        self.request.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")


class Gone(socketserver.BaseRequestHandler):
    """A program that ends every connection at once."""

    def handle(self) -> None:
        """Reset the connection."""
        linger = struct.pack("ii", 1, 0)
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.request.close()


@pytest.mark.parametrize("other", [Html, Rude, Gone])
def test_commands_explain_that_something_else_runs(
    penstock: Any, tmp_path: Path, other: type[socketserver.BaseRequestHandler]
) -> None:
    """Who gives the port of another program is told what was tried, and what to say instead."""
    template = tmp_path / "template.yaml"
    template.write_text("Resources: {Queue: {Type: AWS::SQS::Queue}}")
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), other) as there:
        threading.Thread(target=there.serve_forever).start()
        at = f"http://127.0.0.1:{there.server_address[1]}"
        try:
            for command in (
                ["queues"],
                ["logs", "any"],
                ["deploy", str(template), "--stack", "any"],
            ):
                ended = penstock(*command, at=at)

                assert 1 == ended.returncode
                assert 1 == len(ended.stderr.splitlines()), ended.stderr
                assert at in ended.stderr
                assert "--endpoint or AWS_ENDPOINT_URL" in ended.stderr
        finally:
            there.shutdown()


def test_up_on_a_folder_in_use(penstock: Any, server: Any) -> None:
    """Two servers on one folder would corrupt it: the second one says who has it, and ends."""
    ended = penstock("up", "--data", server.data, "--port", "0")

    assert 1 == ended.returncode
    assert f"is in use by process {server.process.pid}" in ended.stderr
    assert 1 == len(ended.stderr.splitlines())


def test_up_on_a_port_in_use(penstock: Any, server: Any, tmp_path: Path) -> None:
    """A port that another program has is named, and the process ends."""
    ended = penstock("up", "--data", str(tmp_path), "--port", str(server.port))

    assert 1 == ended.returncode, ended.stdout
    assert "cannot listen" in ended.stderr
    assert str(server.port) in ended.stderr


def test_up_for_everyone_needs_authentication(penstock: Any, tmp_path: Path) -> None:
    """Whoever reaches an open Penstock runs code on it: that is allowed to this machine only."""
    ended = penstock("up", "--data", str(tmp_path), "--host", "0.0.0.0", "--port", "0")

    assert 1 == ended.returncode
    assert "use --auth sigv4" in ended.stderr


def test_sigterm_finishes_what_is_in_flight(
    launch: Aws, connect: Aws, tmp_path: Path, eventually: Any
) -> None:
    """A deployment of a new version ends the old process: a running invocation gets its answer first."""
    # The function leaves a file for the test, which a sandbox would keep to itself.
    server = launch(tmp_path / "data", "--sandbox", "none")
    source = (
        "import pathlib, time\n"
        "def handler(event, context):\n"
        "    pathlib.Path(event).touch()\n"
        "    time.sleep(1)\n"
        "    return 'finished'\n"
    )
    functions = make_function(partial(connect, server.endpoint), "slow", source, Timeout=10)
    begun = tmp_path / "begun"
    answers: list[bytes] = []

    def invoke() -> None:
        payload = json.dumps(str(begun)).encode()
        answers.append(functions.invoke(FunctionName="slow", Payload=payload)["Payload"].read())

    caller = threading.Thread(target=invoke)
    caller.start()
    eventually(begun.exists, bool)
    server.process.terminate()
    caller.join()

    assert [b'"finished"'] == answers
    assert 0 == server.process.wait(10)


def test_sigterm_does_not_wait_for_long_polls(launch: Aws, connect: Aws, tmp_path: Path) -> None:
    """A consumer that waits twenty seconds for messages must not keep a server from ending."""
    server = launch(tmp_path / "data")
    sqs = connect(server.endpoint, "sqs")
    url = sqs.create_queue(QueueName="empty")["QueueUrl"]
    answers: list[Any] = []

    def receive() -> None:
        answers.append(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20))

    caller = threading.Thread(target=receive)
    caller.start()
    caller.join(0.3)
    began = time.monotonic()
    server.process.terminate()

    assert 0 == server.process.wait(30)
    assert time.monotonic() - began < 5
    caller.join()


def test_demo(penstock: Any) -> None:
    """The README's first command ends well: every order is done or, if it cannot be, dead-lettered."""
    ended = penstock("demo", "--orders", "100", timeout=170)

    assert 0 == ended.returncode, ended.stdout + ended.stderr
