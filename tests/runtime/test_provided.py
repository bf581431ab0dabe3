"""OS-only runtimes: a bootstrap of the function's own, and Lambda extensions beside it."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.bench import Bench, play, why_no_sandbox

SHELL = """#!/bin/sh
next="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
echo "starting for $_HANDLER"
while true; do
  headers=$(mktemp)
  event=$(curl -sS -D "$headers" "$next/next")
  id=$(grep -i Lambda-Runtime-Aws-Request-Id "$headers" | tr -d '[:space:]' | cut -d: -f2)
  case "$event" in
    *stream*) curl -sS -H "Lambda-Runtime-Function-Response-Mode: streaming" -d 'x' "$next/$id/response";;
    *fail*) curl -sS -d '{"errorType":"Mine","errorMessage":"as posted","more":1}' "$next/$id/error";;
    *) curl -sS -d "{\\"event\\":$event,\\"root\\":\\"$LAMBDA_TASK_ROOT\\",\\"engine\\":\\"$AWS_EXECUTION_ENV\\"}" \\
         "$next/$id/response";;
  esac > /dev/null
done
"""
C = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
static char buffer[65536];
static void call(const char *request) {
  char address[64]; strcpy(address, getenv("AWS_LAMBDA_RUNTIME_API"));
  char *colon = strchr(address, ':'); *colon = 0;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(colon + 1))};
  inet_pton(AF_INET, address, &to.sin_addr);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  connect(fd, (struct sockaddr *)&to, sizeof to);
  write(fd, request, strlen(request));
  ssize_t n = read(fd, buffer, sizeof buffer - 1);
  buffer[n > 0 ? n : 0] = 0;
  close(fd);
}
int main(void) {
  for (;;) {
    call("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: lambda\r\n\r\n");
    char id[64] = "", body[1024], request[2048];
    sscanf(strstr(buffer, "Request-Id: "), "Request-Id: %63[^\r]", id);
    snprintf(body, sizeof body, "{\"compiled\":%s}", strstr(buffer, "\r\n\r\n") + 4);
    snprintf(request, sizeof request, "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\n"
             "Host: lambda\r\nContent-Length: %zu\r\n\r\n%s", id, strlen(body), body);
    call(request);
  }
}
"""
EXTENSION = """#!/usr/bin/env python3
import http.client, json, os, sys
name = os.path.basename(sys.argv[0])
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def call(method, path, body=None, **headers):
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    api.request(method, "/2020-01-01/extension/" + path, body, headers)
    answer = api.getresponse()
    return answer, json.loads(answer.read())
answer, found = call("POST", "register", json.dumps({"events": ["INVOKE", "SHUTDOWN"]}), Lambda_Extension_Name=name)
mine = answer.headers["Lambda-Extension-Identifier"]
print("registered for", found["functionName"], found["functionVersion"], found["handler"], "_HANDLER" in os.environ, flush=True)
while True:
    _, event = call("GET", "event/next", Lambda_Extension_Identifier=mine)
    print("told", event["eventType"], event.get("requestId"), event.get("shutdownReason"), flush=True)
    if event["eventType"] == "SHUTDOWN":
        break
"""
INTERNAL = """
import http.client, json, os, threading
def extend():
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    def call(method, path, body, headers):
        api.request(method, "/2020-01-01/extension/" + path, body, headers)
        answer = api.getresponse()
        return answer, json.loads(answer.read())
    answer, refused = call("POST", "register", '{"events":["SHUTDOWN"]}', {"Lambda-Extension-Name": "inner"})
    print("refused", answer.status, refused["errorType"], flush=True)
    answer, _ = call("POST", "register", '{"events":["INVOKE"]}', {"Lambda-Extension-Name": "inner"})
    mine = {"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}
    ready.set()
    while True:
        event = call("GET", "event/next", None, mine)[1]
        print(f"inner told {event['requestId']}")
ready = threading.Event()
threading.Thread(target=extend, daemon=True).start()
ready.wait()
def handler(event, context):
    return 1
"""
curl = pytest.mark.skipif(shutil.which("curl") is None, reason="the script needs curl")


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def messages(bench: Bench) -> list[str]:
    return [line.message.removesuffix("\n") for line in bench.sink.lines]


@curl
@pytest.mark.parametrize("mode", ["none", "bwrap"])
def test_shell_script(tmp_path: Path, mode: str) -> None:
    """A script that speaks the Runtime API by curl is a whole runtime, in and out of the sandbox."""
    if mode == "bwrap" and (why := why_no_sandbox(tmp_path)):
        pytest.skip(why)

    async def scenario(bench: Bench) -> None:
        executable(bench.code / "bootstrap", SHELL)
        kind = {"runtime": "provided.al2023", "handler": "any.name"}
        for number in (1, 2):
            document = json.loads((await bench.run({"n": number}, **kind)).payload)
            expected = "/var/task" if mode == "bwrap" else str(bench.code)
            assert {"event": {"n": number}, "root": expected, "engine": ""} == document
        failed = await bench.run({"fail": 1}, **kind)
        assert '{"errorType":"Mine","errorMessage":"as posted","more":1}' == failed.payload.decode()
        streamed = await bench.run({"stream": 1}, **kind)
        assert "NotImplemented" == json.loads(streamed.payload)["errorType"]
        await bench.runtime.flush_logs()
        assert messages(bench)[0].startswith("INIT_START Runtime Version: provided:al2023.v0\t")
        assert "starting for any.name" in messages(bench)

    play(tmp_path, scenario, mode=mode)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("mode", ["none", "bwrap"])
def test_compiled_program(tmp_path: Path, mode: str) -> None:
    """A compiled program named bootstrap is run as it is."""
    if mode == "bwrap" and (why := why_no_sandbox(tmp_path)):
        pytest.skip(why)

    program = tmp_path / "program"
    command = ["cc", "-x", "c", "-o", str(program), "-"]
    subprocess.run(command, input=C, text=True, check=True, capture_output=True)

    async def scenario(bench: Bench) -> None:
        shutil.copy(program, bench.code / "bootstrap")
        result = await bench.run({"a": 1}, runtime="provided.al2")
        assert {"compiled": {"a": 1}} == json.loads(result.payload)

    play(tmp_path, scenario, mode=mode)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        ("not a program", "fork/exec /var/task/bootstrap: exec format error"),
        ("#!/no/such/shell\n", "fork/exec /var/task/bootstrap: no such file or directory"),
    ],
)
def test_bootstrap_that_cannot_be_run(tmp_path: Path, text: str | None, why: str) -> None:
    """The commonest mistakes with custom runtimes are told in AWS's words."""

    async def scenario(bench: Bench) -> None:
        if text is not None:
            executable(bench.code / "bootstrap", text)
        result = await bench.run({}, runtime="provided.al2023")
        expected = {
            "errorType": "Runtime.InvalidEntrypoint",
            "errorMessage": f"RequestId: request-1 Error: {why}",
        }
        assert expected == json.loads(result.payload)
        await bench.runtime.flush_logs()
        log = messages(bench)
        assert "\tPhase: init\tStatus: error\tError Type: Runtime.InvalidEntrypoint" in log[1]
        assert "\tPhase: invoke\tStatus: error\tError Type: Runtime.InvalidEntrypoint" in log[2]
        assert log[3] == "START RequestId: request-1 Version: $LATEST"
        assert log[4] == f"RequestId: request-1 Error: {why}\nRuntime.InvalidEntrypoint"
        assert log[5] == "END RequestId: request-1"

    play(tmp_path, scenario)


@pytest.mark.parametrize("mode", ["none", "bwrap"])
def test_external_extension(tmp_path: Path, mode: str) -> None:
    """An extension from a layer is told of every event, and of the end in time to flush what it holds."""
    if mode == "bwrap" and (why := why_no_sandbox(tmp_path)):
        pytest.skip(why)
    opt = tmp_path / "opt"
    executable(opt / "extensions" / "watcher", EXTENSION)

    async def scenario(bench: Bench) -> None:
        async def run(**event: Any) -> Any:
            result = await bench.run(event, opt=opt)
            while not bench.runtime._idle:  # until the extension has done its work
                await asyncio.sleep(0.01)
            return json.loads(result.payload)

        assert 1 == (await run())["count"]
        assert 2 == (await run())["count"]
        await run(do="exit", code=1)
        assert 1 == (await run())["count"]
        await bench.runtime.close()
        told = [line for line in messages(bench) if line.startswith(("told", "registered"))]
        expected = [
            "registered for f $LATEST app.handler False",
            "told INVOKE request-1 None",
            "told INVOKE request-2 None",
            "told INVOKE request-3 None",
            "told SHUTDOWN None FAILURE",
            "registered for f $LATEST app.handler False",
            "told INVOKE request-4 None",
            "told SHUTDOWN None SPINDOWN",
        ]
        assert expected == told, messages(bench)
        assert 1 == len(bench.sink.streams)

    play(tmp_path, scenario, mode=mode)


def test_extension_that_dies(tmp_path: Path) -> None:
    """A function whose extension cannot start does not run, as on AWS."""
    opt = tmp_path / "opt"
    executable(opt / "extensions" / "broken", "#!/bin/sh\nexit 7\n")

    async def scenario(bench: Bench) -> None:
        document = json.loads((await bench.run({}, opt=opt)).payload)
        assert "Extension.Crash" == document["errorType"]
        assert "RequestId: request-1 Error: exit status 7" == document["errorMessage"]

    play(tmp_path, scenario)


def test_internal_extension(tmp_path: Path) -> None:
    """A thread of the function may register for INVOKE, and not for SHUTDOWN."""

    async def scenario(bench: Bench) -> None:
        (bench.code / "inner.py").write_text(INTERNAL)
        for _ in (1, 2):
            assert b"1" == (await bench.run({}, handler="inner.handler")).payload
        while "inner told request-2" not in messages(bench):
            await asyncio.sleep(0.01)
        log = messages(bench)
        assert "refused 403 Extension.InvalidEventType" in log
        expected = ["inner told request-1", "inner told request-2"]
        assert expected == [line for line in log if line.startswith("inner told")]

    play(tmp_path, scenario)


def test_init_that_takes_too_long(tmp_path: Path) -> None:
    """Init over its limit is begun again under the function's timeout, which may suffice or not."""
    slow = "import time, os\ntime.sleep(0.6)\ndef handler(event, context): return os.getpid()\n"

    async def scenario(bench: Bench) -> None:
        (bench.code / "slow.py").write_text(slow)
        spec: dict[str, Any] = {"handler": "slow.handler"}
        assert None is (await bench.run({}, **spec, timeout_ms=5_000)).error
        late = await bench.run({}, **spec, timeout_ms=300, key="k2")
        assert "Sandbox.Timedout" == json.loads(late.payload)["errorType"]
        await bench.runtime.flush_logs()
        log = messages(bench)
        assert log[1].startswith("INIT_REPORT Init Duration: ")
        assert log[1].endswith("Phase: init\tStatus: timeout")
        assert log[2].startswith("START ")
        assert log[-5].endswith("Phase: invoke\tStatus: timeout")
        assert log[-1].endswith("\tStatus: timeout")
        assert log[-3].endswith(" request-2 Task timed out after 0.30 seconds")

    play(tmp_path, scenario, init_limit_ms=300)
