"""What is decoded in one pass is what the readers and the checks let through, and nothing else."""

import base64
import json
import string
from functools import cache
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.errors import AwsError
from penstock.wire.constraint import compile_validator
from penstock.wire.decoder import compile_decoder
from penstock.wire.model import Catalog, Model, Shape
from penstock.wire.profile import profile_of
from penstock.wire.typed import JSON, ReaderCompiler

CATALOG = Catalog(["dynamodb", "sqs", "events"])
OPERATIONS = [
    (service, name)
    for service in ("dynamodb", "sqs", "events")
    for name in CATALOG.model(service).operations
]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.just([]),
    st.just({}),
    st.just([None]),
    st.just({"S": None}),
)
BLOBS = st.one_of(
    st.binary(max_size=6).map(lambda data: base64.b64encode(data).decode()),
    st.text(string.ascii_letters + "+/=\n ", max_size=8),
)


@cache
def compiled(service: str, name: str) -> Any:
    """The decoder, and the reading and checking that it spares."""
    model = CATALOG.model(service)
    shape = model.optional(model.operations[name].get("input"))
    profile = profile_of(service, "json")
    validate = compile_validator(model, shape, profile)
    read = ReaderCompiler(model, JSON).structure(shape)

    def slowly(body: bytes) -> Any:
        try:
            params = read(orjson.loads(body))
            if validate is not None:
                validate(params)
        except (AwsError, orjson.JSONDecodeError) as error:
            return error
        return params

    return compile_decoder(model, shape, profile, validate), slowly, documents(model, shape)


def documents(model: Model, shape: Shape) -> st.SearchStrategy[Any]:
    """Values of a shape that are mostly as they should be, and sometimes are not."""
    structures: dict[str, st.SearchStrategy[Any]] = {}

    def of(shape: Shape) -> st.SearchStrategy[Any]:
        return st.integers(0, 29).flatmap(lambda n: ODD if n == 0 else proper(shape))

    def proper(shape: Shape) -> st.SearchStrategy[Any]:
        least, most = shape.traits.get("min", 0), shape.traits.get("max", 12)
        match shape.kind:
            case "structure":
                if shape.name not in structures:
                    structures[shape.name] = st.deferred(lambda: structure(shape))
                return structures[shape.name]
            case "list":
                return st.lists(of(model.element(shape)), min_size=min(least, 2), max_size=3)
            case "map":
                key, value = model.key(shape), model.value(shape)
                names = proper(key) if key.kind == "string" else st.text(max_size=3)
                return st.dictionaries(names, of(value), max_size=3)
            case "string":
                usual = st.text(min_size=min(least, 4), max_size=max(min(most, 12), min(least, 4)))
                edges = st.sampled_from(["", "x" * min(least, 3000), "x" * min(most + 1, 3000)])
                if "enum" in shape.traits:
                    return st.one_of(st.sampled_from(shape.traits["enum"]), usual)
                plain = st.text(string.ascii_letters + "-_.", min_size=min(least, 5), max_size=12)
                return st.one_of(plain, plain, usual, edges)
            case "blob":
                return BLOBS
            case "boolean":
                return st.booleans()
            case "integer" | "long":
                return st.one_of(st.integers(least, max(least, most)), st.integers(-5, 100_000))
            case "double" | "float":
                return st.one_of(st.integers(0, 9), st.floats(0, 9))
        return st.integers(0, 2_000_000_000)

    def structure(shape: Shape) -> st.SearchStrategy[Any]:
        required = shape.get("required", ())
        members = dict(model.members(shape))
        return st.fixed_dictionaries(
            {name: of(members[name]) for name in required if name in members},
            optional={
                **{name: of(member) for name, member in members.items() if name not in required},
                "Unknown": ODD,
            },
        )

    return of(shape)


@pytest.mark.parametrize(("service", "name"), OPERATIONS, ids="-".join)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_what_passes_is_what_the_readers_give(service: str, name: str, data: st.DataObject) -> None:
    """A request that was taken in one pass must mean the same, and must break no rule that AWS enforces."""
    decode, slowly, strategy = compiled(service, name)
    body = json.dumps(data.draw(strategy), ensure_ascii=data.draw(st.booleans())).encode(
        errors="surrogatepass"
    )
    if not body.startswith(b"{"):
        return
    try:
        decoded = decode(body)
    except AwsError as error:
        refused = slowly(body)
        assert isinstance(refused, AwsError)
        assert str(refused) == str(error)
        return
    if decoded is not None:
        assert repr(decoded) == repr(slowly(body))


def test_a_renamed_member_is_left_to_the_readers() -> None:
    """Its name on the wire is not its own: dropped as unknown, it would be ignored without a word."""
    text = {"type": "string"}
    model = Model(
        "sqs",
        {
            "metadata": {},
            "operations": {},
            "shapes": {
                "Input": {
                    "type": "structure",
                    "members": {
                        "Name": {"shape": "Text", "locationName": "name"},
                        "Other": {"shape": "Text"},
                    },
                },
                "Text": text,
            },
        },
    )
    decode = compile_decoder(
        model, model.shape({"shape": "Input"}), profile_of("sqs", "json"), None
    )
    assert {"Other": "x"} == decode(b'{"Other": "x"}')
    assert decode(b'{"Other": "x", "name": "y"}') is None


VALUES = {"a": {"S": "x"}, "b": {"L": [{"M": {"c": {"N": "1"}}}, {"B": "YQ=="}]}}


@pytest.mark.parametrize(
    ("service", "name", "document"),
    [
        ("dynamodb", "PutItem", {"TableName": "t", "Item": VALUES}),
        ("dynamodb", "GetItem", {"TableName": "t", "Key": VALUES, "ConsistentRead": True}),
        (
            "dynamodb",
            "TransactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "t", "Item": VALUES}}]},
        ),
        ("sqs", "SendMessage", {"QueueUrl": "u", "MessageBody": "b", "DelaySeconds": 1}),
        ("sqs", "ReceiveMessage", {"QueueUrl": "u", "AttributeNames": ["All"]}),
        ("events", "PutEvents", {"Entries": [{"Source": "s", "DetailType": "d", "Detail": "{}"}]}),
    ],
)
def test_usual_requests_are_decoded(service: str, name: str, document: Any) -> None:
    """Otherwise every request would be read twice, and nobody would see it."""
    decode, slowly, _ = compiled(service, name)
    body = orjson.dumps(document)
    assert decode(body) is not None
    assert decode(body) == slowly(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"QueueUrl": "\xff"}',
        b'{"Unknown": "\xff", "QueueUrl": "u"}',
        b'{"QueueUrl": "\\ud800"}',
        b'{"QueueUrl": "\\udc00x"}',
        b'{"QueueUrl": "\\ud800\\ud800"}',
        b'{"Unknown": "\\udc00"}',
        b'{"QueueUrl": "a", }',
        b'{"QueueUrl": "a"} x',
        b'{"QueueUrl": "a\nb"}',
        b'{"QueueUrl": null}',
        b'{"DelaySeconds": 1.0}',
        b'{"DelaySeconds": 1e2}',
        b'{"DelaySeconds": true}',
        b'{"DelaySeconds": 99999999999999999999}',
        b'{"DelaySeconds": "1"}',
        b'{"DelaySeconds": 01}',
        b'{"DelaySeconds": NaN}',
        b'{"Unknown": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b"{",
    ],
)
def test_what_is_odd_is_left_to_the_readers(body: bytes) -> None:
    """They convert what AWS converts, and know AWS's words for what it does not take."""
    decode, slowly, _ = compiled("sqs", "SendMessage")
    decoded = decode(body)
    assert decoded is None or decoded == slowly(body)
    assert decoded is None
