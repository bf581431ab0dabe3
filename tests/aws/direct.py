"""Services without HTTP, on a store of a test's own."""

from dataclasses import replace
from typing import Any

from penstock.api import Service
from penstock.clock import SystemClock
from penstock.core.ids import Ids
from penstock.delivery.engine import DeliveryEngine
from penstock.delivery.fault import Faults
from penstock.fanout import Fanout, Outbound
from penstock.services.s3 import S3
from penstock.services.sqs import Sqs
from penstock.storage.primitives import Store


def fanout_over(store: Store, ids: Ids) -> tuple[Fanout, Sqs, DeliveryEngine]:
    """What senders are given, with the queues and the engine that it stands on. Nobody dispatches."""
    clock = SystemClock()
    sqs = Sqs(store, ids, clock, b"0" * 32)
    faults = Faults(lambda: None)
    engine = DeliveryEngine(store, clock, faults)
    dispatcher: Any = None
    fanout = Fanout(
        store=store,
        engine=engine,
        dispatcher=dispatcher,
        clock=clock,
        ids=ids,
        faults=faults,
        intake=sqs.intake,
        queue_exists=sqs.exists,
        outbound=Outbound(),
        endpoint="http://127.0.0.1:4566",
    )
    return fanout, sqs, engine


def s3_over(store: Store, ids: Ids, dispatcher: Any = None) -> Service:
    """S3; nothing that it puts on its way is delivered."""
    fanout, _, _ = fanout_over(store, ids)
    return S3(store, ids, dispatcher, replace(fanout, dispatcher=dispatcher)).service
