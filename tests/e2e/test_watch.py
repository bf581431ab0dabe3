"""`penstock deploy --watch`, as somebody uses it who saves often, and errs."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import environment, outputs_of

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
TEMPLATE = f"""
Transform: AWS::Serverless-2016-10-31
Resources:
  Shared: {{Type: AWS::Serverless::LayerVersion, Properties: {{ContentUri: layer}}}}
  Api: {{Type: AWS::Serverless::Api, Properties: {{StageName: v1, DefinitionUri: api.yaml}}}}
  Hello:
    Type: AWS::Serverless::Function
    Properties: {{CodeUri: src, Handler: app.handler, Runtime: {RUNTIME}, Timeout: 5, Layers: [!Ref Shared]}}
Outputs:
  Name: {{Value: !Ref Hello}}
  Layer: {{Value: !Ref Shared}}
  Api: {{Value: !Ref Api}}
"""
API = """
swagger: "2.0"
info: {title: told, version: "1"}
paths:
  /ping:
    get:
      responses: {"200": {description: ok}}
      x-amazon-apigateway-integration: {type: mock}
"""


class Watched:
    """A project that is watched; what was printed so far."""

    def __init__(self, folder: Path, endpoint: str, stack: str, home: Path) -> None:
        self.folder = folder
        self.template = folder / "template.yaml"
        self.endpoint = endpoint
        self.stack = stack
        self.printed: list[str] = []
        command = ["-m", "penstock", "deploy", str(self.template), "--stack", stack, "--watch"]
        self.process = subprocess.Popen(
            [sys.executable, "-u", *command],
            env=environment(endpoint, home),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.printed.extend(self.process.stdout)

    def end(self) -> None:
        """Stop watching."""
        self.process.terminate()
        self.process.wait(20)
        self._reader.join()

    def save(self, name: str, text: str) -> None:
        """Write a file of the project."""
        (self.folder / name).write_text(text)


@pytest.fixture
def watched(
    endpoint: str, unique: str, tmp_path: Path, connect: Any, eventually: Any
) -> Iterator[Watched]:
    """A project of a function, a layer and an API that was deployed and is watched."""
    folder = tmp_path / "project"
    for name, text in {
        "template.yaml": TEMPLATE,
        "api.yaml": API,
        "layer/python/shared.py": "WORD = 1",
        "src/app.py": "def handler(event, context):\n    return 'one'\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    running = Watched(folder, endpoint, unique, tmp_path)
    try:
        eventually(lambda: (said(running, "Watching "), running.printed), lambda found: found[0])
        yield running
    finally:
        running.end()


def said(watched: Watched, text: str) -> int:
    """How many lines of what was printed hold a text."""
    assert watched.process.poll() is None, watched.printed
    return sum(text in line for line in watched.printed)


def timeout_of(aws: Any, connect: Any, watched: Watched) -> int:
    name = outputs_of(connect, watched.endpoint, watched.stack)["Name"]
    return int(aws("lambda").get_function_configuration(FunctionName=name)["Timeout"])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (TEMPLATE.replace("Timeout: 5", "Timout: 5"), "Timout"),
        (TEMPLATE + "  x: [\n", "YAML not well-formed"),
        (TEMPLATE.replace("Timeout: 5", "Timeout: 5000"), "UPDATE_ROLLBACK_COMPLETE"),
        (None, "template.yaml cannot be read"),
        (TEMPLATE.replace("CodeUri: src", "CodeUri: nowhere"), "CodeUri nowhere"),
    ],
    ids=["misspelt", "half", "rolled-back", "gone", "nowhere"],
)
def test_a_mistake_ends_no_watch(
    watched: Watched, aws: Any, connect: Any, eventually: Any, wrong: str | None, told: str
) -> None:
    """Between two saves a template is often wrong: it is told, and the next save is deployed."""
    if wrong is None:
        watched.template.unlink()
    else:
        watched.save("template.yaml", wrong)
    eventually(lambda: said(watched, "Still watching "), bool)
    assert 1 == said(watched, "penstock: ")
    assert said(watched, told)

    watched.save("template.yaml", TEMPLATE.replace("Timeout: 5", "Timeout: 6"))

    eventually(lambda: timeout_of(aws, connect, watched), lambda seconds: seconds == 6)


def test_all_that_is_packaged_is_watched(
    watched: Watched, aws: Any, connect: Any, eventually: Any
) -> None:
    """A change that is saved and not deployed is looked for in the wrong place for hours."""

    def output(name: str) -> str:
        return outputs_of(connect, watched.endpoint, watched.stack)[name]

    functions = aws("lambda")
    layer, name = output("Layer"), output("Name")

    watched.save("src/app.py", "def handler(event, context):\n    return 'two'\n")
    eventually(
        lambda: functions.invoke(FunctionName=name)["Payload"].read() == b'"two"',
        bool,
    )
    assert 1 == said(watched, "Watching ")

    watched.save("layer/python/shared.py", "WORD = 2")
    eventually(lambda: output("Layer"), lambda arn: arn != layer)
    eventually(lambda: said(watched, "Watching "), lambda times: times == 2)

    watched.save("api.yaml", API.replace("told", "told again"))
    eventually(
        lambda: aws("apigateway").get_rest_api(restApiId=output("Api"))["name"],
        lambda title: title == "told again",
    )


def test_what_was_saved_during_a_mistake_is_deployed(
    watched: Watched, aws: Any, connect: Any, eventually: Any
) -> None:
    """A folder that is moved away and comes back with other code is deployed when it is back."""
    (watched.folder / "src").rename(watched.folder / "away")
    eventually(lambda: said(watched, "CodeUri src"), bool)
    watched.save("away/app.py", "def handler(event, context):\n    return 'back'\n")
    (watched.folder / "away").rename(watched.folder / "src")

    name = outputs_of(connect, watched.endpoint, watched.stack)["Name"]
    eventually(
        lambda: aws("lambda").invoke(FunctionName=name)["Payload"].read() == b'"back"',
        bool,
    )


def test_a_watch_of_nothing_ends(penstock: Callable[..., Any], tmp_path: Path) -> None:
    """Where no Penstock runs at all there is nothing to wait for."""
    (tmp_path / "template.yaml").write_text("Resources: {Queue: {Type: AWS::SQS::Queue}}")

    ended = penstock(
        *("deploy", str(tmp_path / "template.yaml"), "--stack", "any", "--watch"),
        at="http://127.0.0.1:9",
    )

    assert 1 == ended.returncode
    assert "nothing answers at http://127.0.0.1:9" in ended.stderr
