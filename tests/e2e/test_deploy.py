"""`penstock deploy`, as somebody uses it who tries and errs."""

import re
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
LAYERS = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Shared:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: shared/}
  Plain:
    Type: AWS::Lambda::LayerVersion
    Properties: {Content: plain/}
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: app.py
      Handler: app.handler
      Runtime: RUNTIME
      Layers: [!Ref Shared, !Ref Plain]
      Events:
        Get: {Type: Api, Properties: {Path: /hello, Method: get}}
Outputs:
  Url:
    Value: !Sub "https://${ServerlessRestApi}.execute-api.${AWS::Region}.amazonaws.com/Prod/hello/"
"""
DEFINED = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Sam:
    Type: AWS::Serverless::Api
    Properties: {StageName: v1, DefinitionUri: api.yaml}
  Plain:
    Type: AWS::ApiGateway::RestApi
    Properties: {BodyS3Location: api.yaml}
  Stage:
    Type: AWS::ApiGateway::Deployment
    DependsOn: Plain
    Properties: {RestApiId: !Ref Plain, StageName: v1}
Outputs:
  Sam: {Value: !Sub "https://${Sam}.execute-api.${AWS::Region}.amazonaws.com/v1/ping"}
  Plain: {Value: !Sub "https://${Plain}.execute-api.${AWS::Region}.amazonaws.com/v1/ping"}
"""
API = """
swagger: "2.0"
info: {title: ping, version: "1"}
paths:
  /ping:
    get:
      responses: {"200": {description: ok}}
      x-amazon-apigateway-integration:
        type: mock
        requestTemplates: {application/json: '{"statusCode": 200}'}
        responses: {default: {statusCode: "200", responseTemplates: {application/json: pong}}}
"""
ASKS = """
Parameters:
  Delay: {Type: Number}
  Age: {Type: Number, Default: 60}
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Properties: {DelaySeconds: !Ref Delay, MessageRetentionPeriod: !Ref Age}
Outputs:
  Told: {Value: !Sub "${Delay} ${Age}"}
"""
FAILS = """
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Properties: {DelaySeconds: 100000}
"""


def _write(folder: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder / "template.yaml")


def _answers(printed: str) -> list[str]:
    """What the printed addresses answer."""
    addresses = re.findall(r"here: (\S+)", printed)
    return [urllib.request.urlopen(address).read().decode() for address in addresses]


def test_layers_are_packaged(penstock: Any, unique: str, tmp_path: Path) -> None:
    """Layers in folders are deployed as functions are, and SAM's usual output is an address that answers here."""
    template = _write(
        tmp_path,
        {
            "template.yaml": LAYERS.replace("RUNTIME", RUNTIME),
            "shared/python/shared.py": "WORD = 'hello'\n",
            "plain/python/plain.py": "MARK = '!'\n",
            "app.py": "import plain, shared\n\ndef handler(event, context):\n"
            "    return {'statusCode': 200, 'body': shared.WORD + plain.MARK}\n",
        },
    )

    first = penstock("deploy", template, "--stack", unique)
    again = penstock("deploy", template, "--stack", unique)

    assert 0 == first.returncode, first.stdout + first.stderr
    assert ["hello!"] == _answers(first.stdout)
    assert "No changes" not in first.stdout
    assert 0 == again.returncode, again.stdout + again.stderr
    assert f"No changes: the stack {unique} is up to date." == again.stdout.splitlines()[0]
    assert ["hello!"] == _answers(again.stdout)


def test_api_definitions_are_packaged(penstock: Any, unique: str, tmp_path: Path) -> None:
    """An API whose definition is a file beside the template is deployed with it."""
    template = _write(tmp_path, {"template.yaml": DEFINED, "api.yaml": API})

    deployed = penstock("deploy", template, "--stack", unique)

    assert 0 == deployed.returncode, deployed.stdout + deployed.stderr
    assert ["pong", "pong"] == _answers(deployed.stdout)


def test_parameters_keep_their_values(penstock: Any, unique: str, tmp_path: Path) -> None:
    """Who deploys again says what shall be another, as with `aws cloudformation deploy`, not everything once more."""
    template = _write(tmp_path, {"template.yaml": ASKS})

    first = penstock(
        "deploy", template, "--stack", unique, "--parameter", "Delay=1", "--parameter", "Age=90"
    )
    again = penstock("deploy", template, "--stack", unique)
    other = penstock("deploy", template, "--stack", unique, "--parameter", "Delay=2")

    assert ["Told = 1 90"] == first.stdout.splitlines()[-1:], first.stderr
    assert ["Told = 1 90"] == again.stdout.splitlines()[-1:], again.stderr
    assert ["Told = 2 90"] == other.stdout.splitlines()[-1:], other.stderr


@pytest.mark.parametrize(
    "text",
    [
        "Resources:\nGlobals:\n",
        "Resources: x\n",
        "Resources: {Queue: x}\n",
        "Resources: {Queue: {Type: [a]}}\n",
        "Resources: {Queue: {Type: !Foo bar}}\n",
        "Resources: {Code: {Type: AWS::Lambda::Function, Properties: [1]}}\n",
        "Transform: AWS::Serverless-2016-10-31\nGlobals: x\n"
        "Resources: {Code: {Type: AWS::Serverless::Function, Properties: {CodeUri: app.py}}}\n",
        "Transform: AWS::LanguageExtensions\nResources:\n  Fn::ForEach::All: [Name, [A, B]]\n",
        "Parameters: x\nResources: {Queue: {Type: AWS::SQS::Queue}}\n",
        "Description: caf\udce9\n",
    ],
)
def test_malformed_templates_are_refused(
    penstock: Any, unique: str, tmp_path: Path, text: str
) -> None:
    """What a beginner writes is answered in one line by who knows best, CloudFormation, not by a traceback."""
    template = tmp_path / "template.yaml"
    template.write_text(text, errors="surrogateescape")
    (tmp_path / "app.py").write_text("")

    ended = penstock("deploy", str(template), "--stack", unique)

    assert 1 == ended.returncode
    assert 1 == len(ended.stderr.splitlines()), ended.stderr
    assert ended.stderr.startswith("penstock: ")


def test_outputs_that_fail_say_why(penstock: Any, unique: str, tmp_path: Path) -> None:
    """No resource has failed then: the reason is that of the stack."""
    text = "Resources: {Q: {Type: AWS::SQS::Queue}}\nOutputs: {O: {Value: !ImportValue none}}\n"
    ended = penstock("deploy", _write(tmp_path, {"template.yaml": text}), "--stack", unique)
    reason = f"{unique}: No export named none found. Rollback requested by user."
    assert ["penstock: the stack ended as ROLLBACK_COMPLETE", reason] == ended.stderr.splitlines()


def test_a_failed_creation_has_to_be_deleted(penstock: Any, unique: str, tmp_path: Path) -> None:
    """Who corrects the template and deploys again is told what stands in the way, and the command that removes it."""
    template = _write(tmp_path, {"template.yaml": FAILS})

    first = penstock("deploy", template, "--stack", unique)
    again = penstock("deploy", template, "--stack", unique)

    assert "the stack ended as ROLLBACK_COMPLETE" in first.stderr
    assert 1 == again.returncode
    assert 1 == len(again.stderr.splitlines())
    assert f"{unique} is in ROLLBACK_COMPLETE" in again.stderr
    assert f"aws cloudformation delete-stack --stack-name {unique}" in again.stderr


@pytest.mark.parametrize("named", ["ContentUri: nowhere/", "ContentUri: 'nowhere.zip'"])
def test_what_is_not_there(penstock: Any, unique: str, tmp_path: Path, named: str) -> None:
    """A path with a typing error is told by the property that has it."""
    text = LAYERS.replace("RUNTIME", RUNTIME).replace("ContentUri: shared/", named)
    ended = penstock("deploy", _write(tmp_path, {"template.yaml": text}), "--stack", unique)

    assert 1 == ended.returncode
    assert "ContentUri nowhere" in ended.stderr
