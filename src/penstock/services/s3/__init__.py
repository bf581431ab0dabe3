"""S3: buckets, objects with their versions, multipart uploads.

An object is a document that names the blobs holding its bytes. A multipart upload never copies: the parts' blobs become
the object's pieces. Bytes stay in the blob store when an object goes: blobs are shared by digest across services.
"""

from penstock.api import Dispatcher, Service, operations_of
from penstock.core.ids import Ids
from penstock.fanout import Fanout
from penstock.services.s3.bucket import Buckets
from penstock.services.s3.change import Changes
from penstock.services.s3.configuration import Configurations
from penstock.services.s3.listing import Listings
from penstock.services.s3.multipart import Multipart
from penstock.services.s3.notification import Notifications
from penstock.services.s3.object import Objects
from penstock.services.s3.version import Versions
from penstock.storage.primitives import Store

__all__ = ["S3"]


class S3:
    """The `s3` service over a store, and what it does by itself."""

    def __init__(self, store: Store, ids: Ids, dispatcher: Dispatcher, fanout: Fanout) -> None:
        buckets = Buckets(store)
        versions = Versions(store, ids)
        self._notifications = Notifications(store, ids, buckets, dispatcher, fanout)
        changes = Changes(store, buckets, versions, self._notifications)
        resources = (
            buckets,
            Configurations(store, buckets),
            Listings(store, buckets),
            Objects(store, buckets, versions, changes),
            Multipart(store, ids, buckets, changes),
            self._notifications,
        )
        self.service = Service("s3", operations_of(*resources))

    def start(self) -> None:
        """Deliver what was promised, before a stop or a crash too."""
        self._notifications.start()
