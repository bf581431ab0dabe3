"""Time to live of DynamoDB's items, on a clock that stands still until a test moves it."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import Server

Aws = Callable[..., Any]
YEAR = 365 * 86_400


@pytest.fixture(scope="module")
def frozen(
    launch: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A Penstock whose time stands still until a test moves it."""
    server = launch(tmp_path_factory.mktemp("expiry"))
    server.steer("clock", {"freeze": True})
    yield server


@pytest.fixture
def dynamodb(frozen: Server, connect: Aws) -> Any:
    return connect(frozen.endpoint, "dynamodb")


@pytest.fixture
def table(dynamodb: Any, unique: str) -> str:
    """A table with an index."""
    dynamodb.create_table(
        TableName=unique,
        AttributeDefinitions=[
            {"AttributeName": "id", "AttributeType": "S"},
            {"AttributeName": "kind", "AttributeType": "S"},
        ],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "kinds",
                "KeySchema": [{"AttributeName": "kind", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return unique


def switch(dynamodb: Any, table: str, attribute: str = "ends", *, on: bool = True) -> Any:
    return dynamodb.update_time_to_live(
        TableName=table,
        TimeToLiveSpecification={"Enabled": on, "AttributeName": attribute},
    )


def now(frozen: Server) -> int:
    return int(frozen.steer("clock", {"advance": 0})["now"]) // 1000


def put(dynamodb: Any, table: str, key: str, ends: Any) -> None:
    item = {"id": {"S": key}, "kind": {"S": "k"}}
    value = ends if isinstance(ends, dict) else {"N": str(ends)}
    dynamodb.put_item(TableName=table, Item={**item, "ends": value})


def keys(dynamodb: Any, table: str, **more: Any) -> list[str]:
    return sorted(item["id"]["S"] for item in dynamodb.scan(TableName=table, **more)["Items"])


def test_items_end_and_leave_indexes_and_counts(dynamodb: Any, frozen: Server, table: str) -> None:
    """Sessions, tokens and idempotency records are kept in tables that would grow for ever without it."""
    switch(dynamodb, table)
    at = now(frozen)
    put(dynamodb, table, "soon", at + 100)
    put(dynamodb, table, "late", at + 10_000)
    put(dynamodb, table, "text", {"S": str(at + 100)})
    put(dynamodb, table, "ancient", at - 5 * YEAR - 100)
    put(dynamodb, table, "past", f"{at - 4 * YEAR}.5")
    put(dynamodb, table, "again", at + 100)
    dynamodb.update_item(
        TableName=table,
        Key={"id": {"S": "again"}},
        UpdateExpression="SET ends = ends + :more",
        ExpressionAttributeValues={":more": {"N": "5000"}},
    )
    dynamodb.transact_write_items(
        TransactItems=[
            {"Put": {"TableName": table, "Item": {"id": {"S": "tx"}, "ends": {"N": str(at + 50)}}}}
        ]
    )
    dynamodb.batch_write_item(
        RequestItems={
            table: [
                {"PutRequest": {"Item": {"id": {"S": "many"}, "ends": {"N": str(at + 50)}}}},
                {"PutRequest": {"Item": {"id": {"S": "ever"}}}},
            ]
        }
    )
    assert 9 == len(keys(dynamodb, table))
    frozen.steer("clock", {"advance": 200})
    assert ["again", "ancient", "ever", "late", "text"] == keys(dynamodb, table)
    assert ["again", "ancient", "late", "text"] == keys(dynamodb, table, IndexName="kinds")
    told = dynamodb.describe_table(TableName=table)["Table"]
    assert (5, 4) == (told["ItemCount"], told["GlobalSecondaryIndexes"][0]["ItemCount"])
    frozen.steer("clock", {"advance": 20_000})
    assert ["ancient", "ever", "text"] == keys(dynamodb, table)


def test_items_that_were_there_end_too_and_a_crash_delays_none(
    dynamodb: Any, frozen: Server, table: str
) -> None:
    """Whoever switches it on wants to be rid of what has gathered; a restart must not forget what is due."""
    at = now(frozen)
    for number in range(250):
        put(dynamodb, table, f"{number:03}", at + 300)
    put(dynamodb, table, "later", at + 7200)
    switch(dynamodb, table)
    frozen.kill()
    frozen.start()
    frozen.steer("clock", {"freeze": True})
    assert 251 == len(keys(dynamodb, table))
    frozen.steer("clock", {"advance": 400})
    assert ["later"] == keys(dynamodb, table)


def test_another_attribute_counts_from_the_moment_that_it_is_named(
    dynamodb: Any, frozen: Server, table: str
) -> None:
    """Who has named the wrong attribute mends it at once; items of the first one may still be gone through."""
    at = now(frozen)
    for number in range(250):
        times = {"ends": {"N": str(at + 300)}, "other": {"N": str(at + 7200)}}
        dynamodb.put_item(TableName=table, Item={"id": {"S": f"{number:03}"}, **times})
    switch(dynamodb, table)
    switch(dynamodb, table, on=False)
    switch(dynamodb, table, "other")
    frozen.steer("clock", {"advance": 400})
    assert 250 == len(keys(dynamodb, table))
    frozen.steer("clock", {"advance": 7200})
    assert [] == keys(dynamodb, table)


def test_statuses_and_refusals(dynamodb: Any, frozen: Server, table: str) -> None:
    """Tools ask for the status first, and tell users what AWS says."""

    def told() -> Any:
        return dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]

    def refused(attribute: str, *, on: bool) -> str:
        with pytest.raises(ClientError) as refusal:
            switch(dynamodb, table, attribute, on=on)
        assert "ValidationException" == refusal.value.response["Error"]["Code"]
        return str(refusal.value.response["Error"]["Message"])

    other = "TimeToLive is active on a different AttributeName: current AttributeName is ends"
    assert {"TimeToLiveStatus": "DISABLED"} == told()
    assert "TimeToLive is already disabled" == refused("ends", on=False)
    answer = switch(dynamodb, table)["TimeToLiveSpecification"]
    assert {"Enabled": True, "AttributeName": "ends"} == answer
    assert {"TimeToLiveStatus": "ENABLED", "AttributeName": "ends"} == told()
    assert "TimeToLive is already enabled" == refused("ends", on=True)
    assert other == refused("other", on=True)
    assert other == refused("other", on=False)
    put(dynamodb, table, "kept", now(frozen) + 10)
    switch(dynamodb, table, on=False)
    frozen.steer("clock", {"advance": 600})
    assert ["kept"] == keys(dynamodb, table)
    switch(dynamodb, table, "other")
    frozen.steer("clock", {"advance": 600})
    assert ["kept"] == keys(dynamodb, table)
    with pytest.raises(ClientError, match="Table: missing not found"):
        switch(dynamodb, "missing")


def test_a_template_sets_changes_and_removes_it(
    dynamodb: Any, frozen: Server, connect: Aws, unique: str
) -> None:
    """`TimeToLiveSpecification` is among the commonest properties of tables in templates."""
    cloudformation = connect(frozen.endpoint, "cloudformation")
    frozen.steer("clock", {"resume": True})

    def deploy(verb: str, **more: Any) -> str:
        table = {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "TableName": unique,
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "BillingMode": "PAY_PER_REQUEST",
                **more,
            },
        }
        body = json.dumps({"Resources": {"Table": table}})
        getattr(cloudformation, f"{verb}_stack")(StackName=unique, TemplateBody=body)
        cloudformation.get_waiter(f"stack_{verb}_complete").wait(
            StackName=unique, WaiterConfig={"Delay": 1}
        )
        told = dynamodb.describe_time_to_live(TableName=unique)["TimeToLiveDescription"]
        return str(told.get("AttributeName", told["TimeToLiveStatus"]))

    on = {"AttributeName": "ends", "Enabled": True}
    assert "ends" == deploy("create", TimeToLiveSpecification=on)
    put(dynamodb, unique, "past", int(time.time()) - 100)
    assert "DISABLED" == deploy("update", TimeToLiveSpecification={**on, "Enabled": False})
    assert "ends" == deploy("update", TimeToLiveSpecification=on)
    assert "DISABLED" == deploy("update", TimeToLiveSpecification={"Enabled": False})
    assert "ends" == deploy("update", TimeToLiveSpecification=on)
    assert "DISABLED" == deploy("update")
    frozen.steer("clock", {"freeze": True})
