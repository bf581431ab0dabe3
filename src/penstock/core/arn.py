"""Amazon Resource Names: parse, format."""

from typing import NamedTuple

from penstock.core.errors import AwsError


class Arn(NamedTuple):
    """`arn:partition:service:region:account:resource`; `resource` keeps its own colons and slashes."""

    partition: str
    service: str
    region: str
    account: str
    resource: str

    def __str__(self) -> str:
        return f"arn:{self.partition}:{self.service}:{self.region}:{self.account}:{self.resource}"

    @property
    def name(self) -> str:
        """The last component of the resource: `function:f` and `table/t` both have a name after the type."""
        return self.resource.replace("/", ":").rsplit(":", 1)[-1]


def parse_arn(text: str) -> Arn:
    """Split an ARN. Raises `AwsError("ValidationException")` when `text` is none."""
    parts = text.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn":
        raise AwsError("ValidationException", f"Invalid ARN: {text}")
    return Arn(*parts[1:])


def make_arn(service: str, region: str, account: str, resource: str) -> str:
    """Format an ARN of the `aws` partition."""
    return f"arn:aws:{service}:{region}:{account}:{resource}"
