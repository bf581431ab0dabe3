"""Lambda's runtimes as boto3 sees them: which can be created, what they run, and what a saved file changes."""

import io
import json
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from penstock.cli.deploy import deploy, functions_of
from penstock.cli.watch import Watch, snapshot

Aws = Callable[..., Any]
OWN = f"python{sys.version_info.major}.{sys.version_info.minor}"
NODE = """
import { setTimeout as sleep } from "node:timers/promises";
export const handler = async (event, context) => {
  await sleep(1);
  console.log("from node");
  return { version: process.version.split(".")[0], echo: event, function: context.functionName };
};
"""
TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties: {{Runtime: {runtime}, Handler: app.handler, CodeUri: code/}}
Outputs:
  Name: {{Value: !Ref Hello}}
"""


def zipped(files: dict[str, str], mode: int = 0o644) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (stat.S_IFREG | mode) << 16
            archive.writestr(entry, text)
    return data.getvalue()


@pytest.fixture
def create(aws: Aws, role: str, unique: str) -> Iterator[Callable[..., str]]:
    """Create a function; it is deleted in the end."""

    def new(runtime: str, files: dict[str, str], mode: int = 0o644, **options: Any) -> str:
        aws("lambda").create_function(
            FunctionName=unique,
            Runtime=runtime,
            Role=role,
            Handler="app.handler",
            Code={"ZipFile": zipped(files, mode)},
            **options,
        )
        return unique

    yield new
    try:
        aws("lambda").delete_function(FunctionName=unique)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "ResourceNotFoundException"


def installed_node() -> str:
    """The runtime that this machine's Node.js runs, or a skip."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js on PATH")
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    runtime = f"nodejs{said[1:].split('.')[0]}.x"
    if runtime not in ("nodejs18.x", "nodejs20.x", "nodejs22.x", "nodejs24.x"):
        pytest.skip(f"Lambda has no {runtime}")
    return runtime


@pytest.mark.parametrize(
    ("runtime", "code", "text"),
    [
        ("python2.5", "InvalidParameterValueException", "Value python2.5 at 'runtime' failed"),
        ("python3.8", "InvalidParameterValueException", "The runtime parameter of python3.8 is no"),
        ("nodejs16.x", "InvalidParameterValueException", "The runtime parameter of nodejs16.x is"),
        ("java21", "NotImplemented", "the Lambda runtime java21"),
    ],
)
def test_runtimes_that_cannot_be_created(
    create: Callable[..., str], runtime: str, code: str, text: str
) -> None:
    """Unknown, retired and unbuilt runtimes are refused when the function is made, not when it fails."""
    with pytest.raises(ClientError) as refused:
        create(runtime, {"app.py": ""})
    assert code == refused.value.response["Error"]["Code"]
    assert text in refused.value.response["Error"]["Message"]


def test_nodejs(aws: Aws, create: Callable[..., str]) -> None:
    """A Node.js function with an ES module handler answers, and logs under its own group."""
    runtime = installed_node()
    name = create(runtime, {"app.mjs": NODE}, Timeout=20)
    answer = aws("lambda").invoke(FunctionName=name, Payload=b'{"a":1}', LogType="Tail")
    document = json.load(answer["Payload"])
    expected = {"version": f"v{runtime[6:-2]}", "echo": {"a": 1}, "function": name}
    assert expected == document


def test_custom_runtime_that_is_missing(aws: Aws, create: Callable[..., str]) -> None:
    """A package without a bootstrap is told apart from a function that fails."""
    name = create("provided.al2023", {"main": "x"})
    answer = aws("lambda").invoke(FunctionName=name)
    document = json.load(answer["Payload"])
    assert ("Unhandled", "Runtime.InvalidEntrypoint") == (
        answer["FunctionError"],
        document["errorType"],
    )


def test_out_of_memory(aws: Aws, create: Callable[..., str]) -> None:
    """A function above its memory is killed, as AWS tells it, and runs again for the next event."""
    code = "def handler(event, context):\n    return len(bytearray(event['mb'] << 20))\n"
    name = create(OWN, {"app.py": code}, Timeout=20)
    answer = aws("lambda").invoke(FunctionName=name, Payload=b'{"mb":400}')
    document = json.load(answer["Payload"])
    assert "Runtime.ExitError" == document["errorType"]
    assert document["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    assert (
        b"1048576" == aws("lambda").invoke(FunctionName=name, Payload=b'{"mb":1}')["Payload"].read()
    )


def test_watch_runs_what_was_saved(
    aws: Aws,
    endpoint: str,
    unique: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With `deploy --watch` the next invocation runs the file as it was saved."""
    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    template = tmp_path / "template.yaml"
    template.write_text(TEMPLATE.format(runtime=OWN))
    code = tmp_path / "code" / "app.py"
    code.parent.mkdir()
    code.write_text("def handler(event, context):\n    return 'before'\n")
    name = deploy(template, unique, {}, endpoint, lambda _: None).outputs["Name"]
    before = {code.parent: snapshot([code.parent])}
    watch = Watch(functions_of(template, unique, endpoint), before, endpoint)
    invoke = aws("lambda").invoke
    assert b'"before"' == invoke(FunctionName=name)["Payload"].read()
    assert not watch.look()
    assert "" == capsys.readouterr().out
    code.write_text("def handler(event, context):\n    return 'after it was saved'\n")
    assert not watch.look()
    assert b'"after it was saved"' == invoke(FunctionName=name)["Payload"].read()
    assert f"{name} runs what is in {code.parent} now\n" == capsys.readouterr().out
    aws("cloudformation").delete_stack(StackName=unique)
