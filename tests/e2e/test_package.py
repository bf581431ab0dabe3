"""What the command line does before it talks to a server."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.cli.package import local_folders, named_paths, package, read_template
from penstock.config import Config, ConfigError, from_environment
from penstock.core.errors import PenstockError


def test_shared_code_is_packaged(tmp_path: Path) -> None:
    """SAM takes CodeUri from Globals too; a path left there would fail at the deployment."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("x = 1")
    template: dict[str, Any] = {"Globals": {"Function": {"CodeUri": "src"}}, "Resources": {}}
    uploaded: dict[str, bytes] = {}
    package(template, tmp_path, "bucket", uploaded.__setitem__)
    (key,) = uploaded
    assert {"Bucket": "bucket", "Key": key} == template["Globals"]["Function"]["CodeUri"]


def test_code_of_loops_is_packaged(tmp_path: Path) -> None:
    """A function that AWS::LanguageExtensions writes out has code beside the template as any other."""
    (tmp_path / "src").mkdir()
    function = {"Type": "AWS::Lambda::Function", "Properties": {"Code": "src"}}
    loop = ["Name", ["A", "B"], {"F${Name}": function}]
    template: dict[str, Any] = {"Resources": {"Fn::ForEach::All": loop}}
    uploaded: dict[str, bytes] = {}

    package(template, tmp_path, "bucket", uploaded.__setitem__)

    (key,) = uploaded
    assert {"S3Bucket": "bucket", "S3Key": key} == function["Properties"]["Code"]  # type: ignore[index]


def test_code_that_loops_share_is_deployed_with_the_stack(tmp_path: Path) -> None:
    """Were it sent to the functions that stand by themselves, those of the loop would keep the old code."""
    for folder in ("shared", "own"):
        (tmp_path / folder).mkdir()

    def function(code: str) -> dict[str, Any]:
        return {"Type": "AWS::Lambda::Function", "Properties": {"Code": code}}

    loop = ["Name", ["A", "B"], {"F${Name}": function("shared")}]
    resources = {"Fn::ForEach::All": loop, "One": function("shared"), "Two": function("own")}

    assert {"Two": tmp_path / "own"} == local_folders({"Resources": resources}, tmp_path)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PENSTOCK_PORT": "x"}, "PENSTOCK_PORT must be a number"),
        ({"PENSTOCK_PORT": "99999"}, "port must be from 0 to 65535"),
        ({"PENSTOCK_AUTH": "on"}, "auth must be off or sigv4"),
        ({"PENSTOCK_ACCOUNT": "12"}, "PENSTOCK_ACCOUNT must be twelve digits, not '12'"),
        ({"PENSTOCK_ACCOUNT": "1234-5678-9012"}, "PENSTOCK_ACCOUNT must be twelve digits"),
        (
            {"PENSTOCK_REGION": "moon"},
            "PENSTOCK_REGION.* must be written as us-east-1 is, not 'moon'",
        ),
        ({"PENSTOCK_REGION": "us east 1"}, "PENSTOCK_REGION"),
        ({"PENSTOCK_REGION": "US-EAST-1"}, "PENSTOCK_REGION"),
    ],
)
def test_settings_that_cannot_be(environment: dict[str, str], message: str) -> None:
    """A wrong setting is told by its name, not by a traceback."""
    with pytest.raises(ConfigError, match=message):
        from_environment(environment)


@pytest.mark.parametrize(
    "region", ["us-east-1", "us-gov-west-1", "cn-northwest-1", "us-isob-east-1", "us-east-9"]
)
def test_regions_that_may_be(region: str) -> None:
    """Every region of AWS is one here, and a team may invent others."""
    assert region == from_environment({"PENSTOCK_REGION": region}).region


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:4566"),
        ("::1", "http://[::1]:4566"),
        ("10.0.0.7", "http://10.0.0.7:4566"),
    ],
)
def test_functions_are_told_where_penstock_listens(host: str, url: str) -> None:
    """A function must reach the address that is listened on, whatever it is."""
    assert url == Config(host=host).url


TYPES = (
    "AWS::Serverless::Function",
    "AWS::Serverless::LayerVersion",
    "AWS::Serverless::Api",
    "AWS::Lambda::Function",
    "AWS::ApiGateway::RestApi",
    "AWS::SQS::Queue",
)
WORDS = st.sampled_from(
    (*TYPES, "src", "api.yaml", "nowhere", "s3://bucket/key", "", ".", "src/x", "a\0b", "x" * 300)
)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("Type", "Properties", "CodeUri", "Code", "Function", "Api"))
            | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
RESOURCES = st.fixed_dictionaries(
    {"Type": st.sampled_from(TYPES) | DOCUMENTS},
    optional={
        "Properties": DOCUMENTS
        | st.dictionaries(
            st.sampled_from(("CodeUri", "ContentUri", "DefinitionUri", "Code", "BodyS3Location")),
            WORDS | DOCUMENTS,
            max_size=3,
        )
    },
)
TEMPLATES = st.fixed_dictionaries(
    {},
    optional={
        "Resources": DOCUMENTS
        | st.dictionaries(
            st.text(max_size=3) | st.just("Fn::ForEach::All"), RESOURCES | DOCUMENTS, max_size=3
        ),
        "Globals": DOCUMENTS,
        "Parameters": DOCUMENTS,
    },
)


@given(document=TEMPLATES | DOCUMENTS)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_document_is_a_surprise(tmp_path: Path, document: Any) -> None:
    """Whatever a file holds, the command line packages it or says in its own words why not: CloudFormation judges."""
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True, exist_ok=True)
    (folder / "src" / "main.py").write_text("x = 1")
    (folder / "api.yaml").write_text("swagger: '2.0'")
    path = folder / "template.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True))
    uploaded: dict[str, bytes] = {}

    with contextlib.suppress(PenstockError):
        named_paths(read_template(path), folder)
        local_folders(read_template(path), folder)
        json.dumps(package(read_template(path), folder, "bucket", uploaded.__setitem__))


@given(text=st.text(alphabet=st.sampled_from("!Ref Fn::Sub{}[]:,-\n \"'&*<|>%@Aa1.")) | st.text())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_text_is_a_surprise(tmp_path: Path, text: str) -> None:
    """Half a template is saved a hundred times a day."""
    path = tmp_path / "template.yaml"
    path.write_text(text, errors="surrogatepass")

    with contextlib.suppress(PenstockError):
        package(read_template(path), tmp_path / "nowhere", "bucket", {}.__setitem__)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"Description: caf\xe9", "is not UTF-8: byte 17 is 0xe9"),
        (b"\xff\xfe\x00", "is not UTF-8: byte 1 is 0xff"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_is_no_text(tmp_path: Path, content: bytes | None, told: str) -> None:
    """Who gives the wrong file is told which, and where it stops being text."""
    path = tmp_path / "template.yaml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(PenstockError, match=told) as raised:
        read_template(path)

    assert str(path) in str(raised.value)


def test_a_link_to_nothing_is_told(tmp_path: Path) -> None:
    """A package without the file that it should hold fails much later, and elsewhere."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").symlink_to(tmp_path / "gone.py")
    template: dict[str, Any] = {"Globals": {"Function": {"CodeUri": "src"}}}

    with pytest.raises(PenstockError, match="CodeUri src cannot be read: No such file"):
        package(template, tmp_path, "bucket", {}.__setitem__)
