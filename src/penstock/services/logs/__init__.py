"""CloudWatch Logs: groups, streams and events."""

from penstock.api import Service, operations_of
from penstock.services.logs.events import Events
from penstock.services.logs.groups import Groups
from penstock.services.logs.policies import Policies
from penstock.services.logs.streams import StoreLogSink, Streams
from penstock.storage.primitives import Store

__all__ = ["StoreLogSink", "logs_service"]


def logs_service(store: Store) -> Service:
    """The service, over the same store as the sink."""
    streams = Streams(store)
    return Service("logs", operations_of(Groups(streams), Events(streams), Policies(store)))
