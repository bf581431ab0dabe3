"""Writes docs/services/*.md: every operation of a service's model, and whether it is built.

`python -m tests.docs.parity` rewrites the tables from the code.
"""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

from botocore.loaders import Loader

from penstock.api import Handler
from penstock.app import App
from penstock.config import Config
from penstock.core.template.shape import Items, Record, Shape
from penstock.services.cloudformation.resources import resource_types

FOLDER = Path(__file__).parents[2] / "docs" / "services"
TITLES = {
    "apigateway": "API Gateway (REST)",
    "cloudformation": "CloudFormation",
    "dynamodb": "DynamoDB",
    "events": "EventBridge",
    "iam": "IAM",
    "lambda": "Lambda",
    "logs": "CloudWatch Logs",
    "pipes": "EventBridge Pipes",
    "s3": "S3",
    "scheduler": "EventBridge Scheduler",
    "sns": "SNS",
    "sqs": "SQS",
    "ssm": "Systems Manager parameters",
    "sts": "STS",
}


async def handlers() -> Mapping[tuple[str, str], Handler]:
    """The operations of a whole Penstock."""
    app = await App.open(Config(data=":memory:"))
    table = app.handlers
    await app.close()
    return table


def pages() -> dict[str, str]:
    """The text of each service's page, by service."""
    built = asyncio.run(handlers())
    loader = Loader()
    result = {}
    for service in sorted({name for name, _ in built}):
        names = sorted(loader.load_service_model(service, "service-2")["operations"])
        done = [name for name in names if (service, name) in built]
        lines = [
            f"# {TITLES[service]}",
            "",
            f"{len(done)} of {len(names)} operations are built.",
            "The others, and the parameters and values named here, are refused by name with status 501.",
            "",
            "| operation | built | refused of its parameters |",
            "|---|---|---|",
        ]
        for name in names:
            handler = built.get((service, name))
            refused = ""
            if handler is not None:
                parts = {*handler.aws_refuses, *handler.aws_refuses_in_part}  # type: ignore[attr-defined]
                refused = ", ".join(sorted(parts))
            lines.append(f"| {name} | {'yes' if handler is not None else 'no'} | {refused} |")
        if service == "cloudformation":
            lines += _resource_types()
        result[service] = "\n".join(lines) + "\n"
    return result


def _resource_types() -> list[str]:
    """The table of resource types and of the keys, at any depth, that are refused."""
    rows = resource_types()
    lines = [
        "",
        f"Templates can have resources of {len(rows)} types. Keys of properties that AWS has and Penstock has not are "
        "refused by name.",
        "",
        "| resource type | keys refused |",
        "|---|---|",
    ]
    for name in sorted(rows):
        lines.append(f"| {name} | {', '.join(sorted(_unbuilt(rows[name].shape)))} |")
    return lines


def _unbuilt(shape: Shape, place: str = "") -> Iterator[str]:
    if isinstance(shape, Record):
        yield from (f"{place}{key}" for key in shape.unbuilt)
        for key, member in shape.members.items():
            yield from _unbuilt(member, f"{place}{key}.")
    elif isinstance(shape, Items):
        yield from _unbuilt(shape.item, place)


def main() -> None:
    """Rewrite the pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for service, text in pages().items():
        (FOLDER / f"{service}.md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
