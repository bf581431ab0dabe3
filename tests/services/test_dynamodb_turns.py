"""DynamoDB's time to live among others: what a large table needs is done in turns."""

import asyncio
from typing import Any

from penstock.api import Context
from penstock.clock import SystemClock
from penstock.core.ids import Ids
from penstock.services.dynamodb import DynamoDb
from penstock.storage.sqlite import SqliteStore

ITEMS = 3_000
TABLE: dict[str, Any] = {
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "N"}],
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
}


def test_others_have_their_turns_while_a_large_table_is_gone_through() -> None:
    """A table of a million items would stop every queue for a minute, each time that it is switched on."""

    async def scenario() -> None:
        store, clock = await SqliteStore.open(":memory:"), SystemClock()
        dynamodb = DynamoDb(store, Ids(1), clock)

        async def call(operation: str, **request: Any) -> Any:
            ctx = Context(
                account="000000000000", region="us-east-1", now=clock.now(), request_id="r"
            )
            request["TableName"] = "large"
            return await dynamodb.service.operations[operation](ctx, request)

        async def watch() -> None:
            nonlocal most
            written = store._connection.writes
            while True:
                await asyncio.sleep(0)
                most = max(most, store._connection.writes - written)
                written = store._connection.writes

        most = 0
        await call("CreateTable", **TABLE)
        past = {"N": str(clock.now() // 1000 - 100)}
        for number in range(ITEMS):
            await call("PutItem", Item={"id": {"N": str(number)}, "ends": past})
        dynamodb.expiry.start()
        watching = asyncio.create_task(watch())
        await asyncio.sleep(0)

        on = {"Enabled": True, "AttributeName": "ends"}
        await call("UpdateTimeToLive", TimeToLiveSpecification=on)
        while (await call("DescribeTable"))["Table"]["ItemCount"]:
            await asyncio.sleep(0)

        assert most < ITEMS // 4
        watching.cancel()
        await dynamodb.expiry.close()
        await store.close()

    asyncio.run(scenario())
