"""What is on its way: one event for one target."""

from dataclasses import dataclass, field
from typing import Any, Self

import orjson

from penstock.storage.primitives import Leased


@dataclass(slots=True)
class Delivery:
    """Where an event goes, and on whose behalf. It travels in the attributes of a message whose body is the payload.

    Many are made and few encoded, so it is not frozen; one may be shared by many events, and nobody changes it then.
    """

    to: str
    """The target: an ARN, or the URL of an HTTP endpoint."""
    arn: str
    """What users call the delivery by (the ARN of a subscription, a rule, a schedule), as faults are asked for."""
    account: str
    """Of the sender."""
    region: str
    """Of the sender."""
    principal: str = ""
    """Who sends: a role's ARN or a service, as `sns.amazonaws.com`."""
    trace: str | None = None
    """The X-Ray trace header."""
    request: dict[str, Any] = field(default_factory=dict)
    """Further members of the target's operation, as JSON: a `BinaryValue` of message attributes is base64 text."""
    letters_to: str | None = None
    """The ARN of the dead-letter queue."""
    own: dict[str, Any] = field(default_factory=dict)
    """What the sender needs for its schedule and its dead letters; JSON."""

    @property
    def service(self) -> str:
        """The service of the target's ARN, or `http` for a URL."""
        return self.to.split(":", 3)[2] if self.to.startswith("arn:") else "http"

    def for_event(
        self,
        trace: str | None,
        request: dict[str, Any] | None = None,
        own: dict[str, Any] | None = None,
    ) -> "Delivery":
        """This delivery with what an event brings; `request` and `own` as here, unless given. Itself if that is nothing."""
        if trace is None and request is None and own is None:
            return self
        return Delivery(
            self.to,
            self.arn,
            self.account,
            self.region,
            self.principal,
            trace,
            self.request if request is None else request,
            self.letters_to,
            self.own if own is None else own,
        )

    def encode(self) -> bytes:
        """As a message's attributes."""
        return orjson.dumps(self)

    @classmethod
    def of(cls, message: Leased) -> Self:
        """The delivery that a message is."""
        return cls(**orjson.loads(message.attributes))
