"""S3 without HTTP, on a store of a test's own."""

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


def s3_over(store: Store, ids: Ids, dispatcher: Any = None) -> Service:
    """The service; nothing that it puts on its way is delivered."""
    clock = SystemClock()
    sqs = Sqs(store, ids, clock, b"0" * 32)
    faults = Faults(lambda: None)
    fanout = Fanout(
        store=store,
        engine=DeliveryEngine(store, clock, faults),
        dispatcher=dispatcher,
        clock=clock,
        ids=ids,
        faults=faults,
        intake=sqs.intake,
        queue_exists=sqs.exists,
        outbound=Outbound(),
        endpoint="http://127.0.0.1:4566",
    )
    return S3(store, ids, dispatcher, fanout).service
