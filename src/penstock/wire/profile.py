"""How the services differ on the wire beyond what their models say: one row each."""

from dataclasses import dataclass, field
from typing import Final

_CORAL: Final = {
    "ValidationException": "com.amazon.coral.validate#",
    "SerializationException": "com.amazon.coral.service#",
    "UnknownOperationException": "com.amazon.coral.service#",
    "ThrottlingException": "com.amazon.coral.availability#",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One service's habits."""

    constraints: str | None = "ValidationException"
    """The code under which violated model constraints are told; None where the service checks by itself."""
    enums: bool = False
    """Whether values outside an enum are such violations."""
    bounds: bool = True
    """Whether more is checked than that required members are there: patterns, lengths and values."""
    schema: bool = False
    """Whether a body without required members is told to be none of the published schema."""
    own: frozenset[str] = frozenset()
    """Shapes whose constraints the service tells in its own words."""
    orders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Enums that are listed in another order than the model's."""
    without_nulls: frozenset[str] = frozenset()
    """Lists and maps of whose elements is also told that they must not be null."""
    namespace: str = ""
    """Stands before the shape's name in a JSON `__type`."""
    framework: dict[str, str] = field(default_factory=dict)
    """Codes with a namespace of their own."""
    checksum: bool = False
    """Whether answers carry `x-amz-crc32`."""
    blamed: bool = False
    """Whether a REST-JSON error body says whose fault it was (`Type`)."""
    queue_path: bool = False
    """Whether a form sent to a path means the queue of that path."""
    not_on_queues: frozenset[str] = frozenset()
    """Operations that the URL of a queue does not take."""
    unreadable: str = "SerializationException"
    """The code for a request that cannot be read."""
    detail: bool = False
    """Whether query errors have an empty `<Detail/>`."""


_QUERY: Final = Profile(constraints="ValidationError", unreadable="MalformedInput")
_DEFAULT: Final = Profile()

# AWS: provenance of each row is in the dossier, sections 0.3, 0.4 and 5.13.
_PROFILES: Final = {
    "apigateway": Profile(bounds=False),
    "apigatewayv2": Profile(bounds=False),
    "cloudwatch": Profile(constraints="ValidationError", namespace="com.amazonaws.cloudwatch#"),
    "dynamodb": Profile(
        enums=True,
        namespace="com.amazonaws.dynamodb.v20120810#",
        framework=_CORAL,
        checksum=True,
    ),
    "dynamodbstreams": Profile(
        enums=True,
        namespace="com.amazonaws.dynamodb.v20120810#",
        framework=_CORAL,
        checksum=True,
    ),
    # AWS: OAuth's method is taken in lower case, too (recorded).
    "events": Profile(enums=True, own=frozenset({"ConnectionOAuthHttpMethod"})),
    "lambda": Profile(
        enums=True,
        own=frozenset({"Runtime"}),
        # AWS: recorded by LocalStack.
        orders={
            "InvokeMode": ("RESPONSE_STREAM", "BUFFERED"),
            "RecursiveLoop": ("Terminate", "Allow"),
        },
        without_nulls=frozenset(
            {
                "AdditionalVersionWeights",
                "ArchitecturesList",
                "CompatibleArchitectures",
                "LayerList",
            }
        ),
        unreadable="InvalidRequestContentException",
        blamed=True,
    ),
    "logs": Profile(constraints="InvalidParameterException", enums=True),
    "s3": Profile(constraints=None, unreadable="MalformedXML", bounds=False, schema=True),
    "sqs": Profile(
        constraints=None,
        namespace="com.amazonaws.sqs#",
        queue_path=True,
        not_on_queues=frozenset({"CreateQueue", "ListQueues"}),
        detail=True,
    ),
    "stepfunctions": Profile(namespace="com.amazonaws.swf.service.v2.model#"),
}


def profile_of(service: str, protocol: str) -> Profile:
    """The row of a service; services without one follow their model's (main) protocol."""
    return _PROFILES.get(service, _QUERY if protocol == "query" else _DEFAULT)
