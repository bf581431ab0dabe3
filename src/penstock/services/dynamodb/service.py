"""The DynamoDB service: tables, items, queries on one store."""

from penstock.api import Service, operations_of
from penstock.clock import Clock
from penstock.core.ids import Ids
from penstock.services.dynamodb.batch import Batches
from penstock.services.dynamodb.changes import Changes
from penstock.services.dynamodb.expressions import Expressions
from penstock.services.dynamodb.items import Items
from penstock.services.dynamodb.query import Queries
from penstock.services.dynamodb.settings import Settings
from penstock.services.dynamodb.tables import Tables
from penstock.services.dynamodb.time_to_live import TimeToLive
from penstock.services.dynamodb.transactions import Transactions
from penstock.services.dynamodb.writes import Writer
from penstock.storage.primitives import Store


class DynamoDb:
    """The service on a store, and what removes items that have ended: `expiry`."""

    def __init__(self, store: Store, ids: Ids, clock: Clock) -> None:
        tables = Tables(store, ids)
        expressions = Expressions()
        writer = Writer(expressions)
        self.expiry = TimeToLive(store, tables, clock)
        self.service = Service(
            "dynamodb",
            operations_of(
                tables,
                Items(store, tables, expressions, writer),
                Queries(store, tables, expressions),
                Batches(store, tables, expressions, writer),
                Transactions(store, tables, expressions, writer),
                Changes(store, tables),
                Settings(store, tables),
                self.expiry,
            ),
        )
