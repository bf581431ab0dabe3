"""The Node.js runtime: handlers of every kind, by real Node.js processes."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.bench import Bench, play, why_no_sandbox


def version() -> str | None:
    """The major version of this machine's Node.js."""
    node = shutil.which("node")
    if node is None:
        return None
    return (
        subprocess.run([node, "--version"], check=True, capture_output=True, text=True)
        .stdout[1:]
        .split(".")[0]
    )


NODE = version()
pytestmark = pytest.mark.skipif(
    NODE not in ("18", "20", "22", "24"), reason="no Node.js of a Lambda version on PATH"
)
CALLBACKS = pytest.mark.skipif(NODE == "24", reason="Node.js 24 has no callback handlers")
HANDLERS = """
exports.echo = async (event, context) => ({
  event, id: context.awsRequestId, arn: context.invokedFunctionArn, memory: context.memoryLimitInMB,
  left: context.getRemainingTimeInMillis(), name: context.functionName, cwd: process.cwd(),
});
exports.sync = (event) => "not waited for";
exports.callback = (event, context, callback) => { setTimeout(() => callback(null, { called: true }), 5); };
exports.failing = (event, context, callback) => callback(new TypeError("by callback"));
exports.waits = (event, context, callback) => {
  callback(null, "first"); setTimeout(() => console.log("late work"), 50);
};
exports.hurries = (event, context, callback) => {
  context.callbackWaitsForEmptyEventLoop = false; setInterval(() => {}, 1000); callback(null, "at once");
};
exports.succeed = (event, context) => { context.succeed({ done: 1 }); };
exports.fail = (event, context) => { context.fail(new Error("by context")); };
class Refused extends Error { constructor(text) { super(text); this.name = "Refused"; } }
exports.throws = async () => { throw new Refused("no"); };
exports.string = async () => { throw "a string"; };
exports.nothing = async () => {};
exports.circular = async () => { const it = {}; it.it = it; return it; };
exports.prints = async () => { console.log("one %s", 1, { two: 2 }); console.error("a\\nb"); };
exports.exits = async () => { process.exit(3); };
exports.later = async () => { setTimeout(() => { throw new Error("nobody caught"); }, 1); await new Promise(() => {}); };
exports.rejects = async () => { Promise.reject(new Error("lost")); await new Promise((r) => setTimeout(r, 500)); };
exports.deep = { er: async () => "nested" };
exports.grows = async () => { const all = []; for (;;) { all.push(Buffer.alloc(1 << 24, 1)); await null; } };
exports.notAFunction = 42;
"""


@pytest.fixture
def invoke(tmp_path: Path) -> Callable[..., tuple[Any, Bench]]:
    """Run one event in a new environment: the document, the result and the messages of the log."""

    def run(
        handler: str, files: dict[str, str] | None = None, event: Any = None, **options: Any
    ) -> Any:
        found: dict[str, Any] = {}

        async def scenario(bench: Bench) -> None:
            for name, text in (files or {"app.js": HANDLERS}).items():
                path = bench.code / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            spec = {"runtime": f"nodejs{NODE}.x", "handler": handler, **options}
            result = await bench.run(event or {}, **spec)
            await bench.runtime.flush_logs()
            found["result"] = result
            found["document"] = json.loads(result.payload)
            found["log"] = [line.message.removesuffix("\n") for line in bench.sink.lines]

        play(tmp_path, scenario)
        return found

    return run


Invoke = Callable[..., Any]


def test_async_handler_and_context(invoke: Invoke) -> None:
    """The usual handler sees its event and a context with AWS's names."""
    found = invoke("app.echo", event={"a": [1]})["document"]
    assert ({"a": [1]}, "request-1", "256", "f") == (
        found["event"],
        found["id"],
        found["memory"],
        found["name"],
    )
    assert found["arn"].endswith(":function:f:live")
    assert 0 < found["left"] <= 3000


def test_es_modules(invoke: Invoke) -> None:
    """A `.mjs` file, and a `.js` file of a package of type module, are ES modules, with top-level await."""
    module = "const x = await Promise.resolve(7); export const handler = async () => x;"
    assert 7 == invoke("app.handler", {"app.mjs": module})["document"]
    package = {"lib/package.json": '{"type":"module"}', "lib/app.js": module}
    assert 7 == invoke("lib/app.handler", package, key="k2")["document"]


@CALLBACKS
@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        ("app.callback", {"called": True}),
        ("app.waits", "first"),
        ("app.hurries", "at once"),
        ("app.succeed", {"done": 1}),
        ("app.sync", None),
    ],
)
def test_callbacks(invoke: Invoke, handler: str, expected: Any) -> None:
    """Older handlers answer by callback or context, at once or when the event loop is empty."""
    assert expected == invoke(handler)["document"]


@CALLBACKS
def test_callback_waits_for_the_event_loop(invoke: Invoke) -> None:
    """Work that a handler has begun is done before its answer leaves."""
    assert any(line.endswith("\tINFO\tlate work") for line in invoke("app.waits")["log"])


@pytest.mark.parametrize(
    ("handler", "kind", "message"),
    [
        ("app.throws", "Refused", "no"),
        ("app.string", "string", "a string"),
        ("app.circular", "Runtime.MarshalError", "Unable to stringify response body"),
        ("app.later", "Error", "nobody caught"),
        ("app.rejects", "Runtime.UnhandledPromiseRejection", "Error: lost"),
        pytest.param("app.failing", "TypeError", "by callback", marks=CALLBACKS),
        pytest.param("app.fail", "Error", "by context", marks=CALLBACKS),
    ],
)
def test_errors(invoke: Invoke, handler: str, kind: str, message: str) -> None:
    """An error document has a type, a message and a trace, as callers parse them."""
    found = invoke(handler)
    document = found["document"]
    assert "Unhandled" == found["result"].error
    assert (kind, message) == (document["errorType"], document["errorMessage"])
    assert isinstance(document["trace"], list)
    assert any("\tERROR\t" in line and kind in line for line in found["log"])


@pytest.mark.parametrize(
    ("handler", "kind", "message"),
    [
        ("app.missing", "Runtime.HandlerNotFound", "app.missing is undefined or not exported"),
        ("app.notAFunction", "Runtime.HandlerNotFound", "app.notAFunction is not a function"),
        ("app", "Runtime.MalformedHandlerName", "Bad handler"),
        ("nowhere.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'nowhere'"),
        ("broken.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: "),
        ("stream.handler", "Error", "Penstock does not implement response streaming"),
    ],
)
def test_init_errors(invoke: Invoke, handler: str, kind: str, message: str) -> None:
    """A handler that cannot be loaded is told apart from one that fails; the init phase is tried twice, as on AWS."""
    files = {
        "app.js": HANDLERS,
        "broken.js": "exports.handler = async (",
        "stream.js": "exports.handler = awslambda.streamifyResponse(async () => {});",
    }
    found = invoke(handler, files)
    assert kind == found["document"]["errorType"]
    assert found["document"]["errorMessage"].startswith(message)
    reports = [line for line in found["log"] if line.startswith("INIT_REPORT")]
    assert ["init", "invoke"] == [line.split("Phase: ")[1].split("\t")[0] for line in reports]
    assert found["log"][-1].endswith(f"Status: error\tError Type: {kind}")


def test_log_lines(invoke: Invoke) -> None:
    """Console output carries time, request and level; one call is one event."""
    log = invoke("app.prints")["log"]
    assert log[0].startswith(f"INIT_START Runtime Version: nodejs:{NODE}.v")
    assert log[1] == "START RequestId: request-1 Version: $LATEST"
    assert log[2].endswith("\trequest-1\tINFO\tone 1 { two: 2 }")
    assert log[3].endswith("\trequest-1\tERROR\ta\nb")


def test_exit_nothing_and_nested(invoke: Invoke) -> None:
    """A process that exits is Lambda's error to report; no result is null; handlers may be nested."""
    exited = invoke("app.exits")["document"]["errorMessage"]
    assert exited == "RequestId: request-1 Error: Runtime exited with error: exit status 3"
    assert None is invoke("app.nothing", key="k2")["document"]
    assert "nested" == invoke("app.deep.er", key="k3")["document"]


def test_memory(invoke: Invoke) -> None:
    """Node.js dies of too much memory as AWS tells it."""
    found = invoke("app.grows", memory_mb=128, timeout_ms=30_000)
    assert found["document"]["errorMessage"].endswith("Runtime exited with error: signal: killed")
    assert found["log"][-1].endswith("Status: error\tError Type: Runtime.OutOfMemory")


def test_in_the_sandbox(tmp_path: Path) -> None:
    """In the sandbox Node.js finds the function under AWS's own paths."""
    if why := why_no_sandbox(tmp_path):
        pytest.skip(why)

    async def scenario(bench: Bench) -> None:
        (bench.code / "app.js").write_text(HANDLERS)
        result = await bench.run({}, runtime=f"nodejs{NODE}.x", handler="app.echo")
        assert "/var/task" == json.loads(result.payload)["cwd"]

    play(tmp_path, scenario, mode="bwrap")
