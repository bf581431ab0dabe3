"""Where things are: accounts and regions, buses, and what their ARNs and names say."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from penstock.api import Context
from penstock.core.arn import make_arn, parse_arn
from penstock.core.errors import AwsError

DEFAULT: Final = "default"


class Scope(NamedTuple):
    """One account in one region."""

    account: str
    region: str

    @property
    def partition(self) -> bytes:
        """As the key of a table."""
        return f"{self.account}/{self.region}".encode()

    def arn(self, resource: str) -> str:
        """The ARN of a resource of EventBridge's."""
        return make_arn("events", self.region, self.account, resource)


class BusKey(NamedTuple):
    """One bus."""

    account: str
    region: str
    name: str

    @property
    def scope(self) -> Scope:
        """Its account and region."""
        return Scope(self.account, self.region)

    @property
    def partition(self) -> bytes:
        """As the key of the table of rules."""
        return f"{self.account}/{self.region}/{self.name}".encode()

    @property
    def arn(self) -> str:
        """The bus's ARN."""
        return self.scope.arn(f"event-bus/{self.name}")

    def rule_arn(self, rule: str) -> str:
        """The ARN of one of its rules."""
        # AWS: rules of the default bus are named without it (dossier 4.3, recorded).
        return self.scope.arn(
            f"rule/{rule}" if self.name == DEFAULT else f"rule/{self.name}/{rule}"
        )


def scope_of(ctx: Context) -> Scope:
    """The caller's account and region."""
    return Scope(ctx.account, ctx.region)


def bus_key(ctx: Context, reference: str | None) -> BusKey:
    """The bus that a name or an ARN refers to; the default bus for none."""
    if not reference:
        return BusKey(ctx.account, ctx.region, DEFAULT)
    if not reference.startswith("arn:"):
        return BusKey(ctx.account, ctx.region, reference)
    arn = parse_arn(reference)
    return BusKey(arn.account, arn.region, arn.resource.removeprefix("event-bus/"))


def rule_of_arn(text: str) -> tuple[BusKey, str]:
    """The bus and the name of a rule by its ARN. Raises ValidationException."""
    arn = parse_arn(text)
    kind, _, rest = arn.resource.partition("/")
    if arn.service != "events" or kind != "rule" or not rest:
        raise AwsError("ValidationException", f"Parameter {text} is not valid.")
    bus, _, name = rest.rpartition("/")
    return BusKey(arn.account, arn.region, bus or DEFAULT), name


def time_text(at: int) -> str:
    """An instant as events tell it: UTC, whole seconds."""
    return _second(at // 1000)


@lru_cache(maxsize=64)
def _second(second: int) -> str:
    """The text of a second, of which many events tell the same."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_of(text: str) -> int:
    """The instant (ms) that an event tells."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)
