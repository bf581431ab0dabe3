"""The reference application deployed by the ecosystem's own tools, unchanged."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).parents[2] / ".venv-tools"
RUNTIME = f"PythonRuntime=python{sys.version_info.major}.{sys.version_info.minor}"
CAPABILITIES = ("--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND")


def tool(name: str) -> Path:
    """The tool's program. Skips where `make test` has not installed it, and fails in CI."""
    program = TOOLS / name / "bin" / name
    if not program.exists():
        message = f"{program} is not there: run `make test`, which installs it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return program


@pytest.fixture
def sources(orders_folder: Path, tmp_path: Path) -> Path:
    """A copy of the application: tools write beside the template."""
    return Path(shutil.copytree(orders_folder, tmp_path / "orders"))


def check(ended: "subprocess.CompletedProcess[str]") -> str:
    """What a successful program printed."""
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    return ended.stdout


def order_goes_through(shop: Any) -> None:
    """One order, from the API to the table."""
    order_id = shop.place({"product": "book"})
    shop.wait_until_done([order_id])
    assert "1" == shop.item(order_id)["effects"]


def test_aws_cli(shell: Any, sources: Path, open_shop: Callable[[str], Any]) -> None:
    """`aws cloudformation package` and `deploy` are how many pipelines deploy, with nothing but the AWS CLI."""
    aws = tool("aws")
    check(shell(aws, "s3", "mb", "s3://cli-packages"))
    package = (
        "--template-file",
        "template.yaml",
        "--s3-bucket",
        "cli-packages",
        "--output-template-file",
        "out.yaml",
    )
    check(shell(aws, "cloudformation", "package", *package, folder=sources))
    deploy = (
        "--template-file",
        "out.yaml",
        "--stack-name",
        "by-cli",
        "--parameter-overrides",
        RUNTIME,
        *CAPABILITIES,
    )
    first = check(shell(aws, "cloudformation", "deploy", *deploy, folder=sources, timeout=120))
    again = shell(
        aws, "cloudformation", "deploy", *deploy, "--no-fail-on-empty-changeset", folder=sources
    )

    assert "Successfully created/updated stack - by-cli" in first
    assert "No changes to deploy. Stack by-cli is up to date" in check(again)
    order_goes_through(open_shop("by-cli"))


def test_sam(shell: Any, sources: Path, open_shop: Callable[[str], Any]) -> None:
    """`sam deploy` is how AWS tells people to deploy a SAM template; it makes its own bucket."""
    sam = tool("sam")
    deploy = (
        "--stack-name",
        "by-sam",
        "--resolve-s3",
        "--no-confirm-changeset",
        "--parameter-overrides",
        RUNTIME,
    )
    first = check(shell(sam, "deploy", *deploy, *CAPABILITIES, folder=sources, timeout=180))

    assert "Successfully created/updated stack - by-sam" in first
    order_goes_through(open_shop("by-sam"))


def test_sam_deletes_what_it_deployed(
    shell: Any, sources: Path, open_shop: Callable[[str], Any], aws: Any
) -> None:
    """A stack that cannot be removed again is litter: the queue, the function and the table go with it."""
    sam = tool("sam")
    deploy = (
        "--stack-name",
        "to-delete",
        "--resolve-s3",
        "--no-confirm-changeset",
        "--parameter-overrides",
        RUNTIME,
    )
    check(shell(sam, "deploy", *deploy, *CAPABILITIES, folder=sources, timeout=180))
    outputs = open_shop("to-delete").outputs
    check(
        shell(
            sam, "delete", "--stack-name", "to-delete", "--no-prompts", folder=sources, timeout=120
        )
    )

    assert [] == [
        q for q in aws("sqs").list_queues(QueueNamePrefix="to-delete").get("QueueUrls", [])
    ]
    assert outputs["TableName"] not in aws("dynamodb").list_tables()["TableNames"]
    assert outputs["ConsumerName"] not in [
        f["FunctionName"] for f in aws("lambda").list_functions()["Functions"]
    ]
