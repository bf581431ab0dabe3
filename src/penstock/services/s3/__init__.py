"""S3: buckets, objects with their versions, multipart uploads.

An object is a document that names the pieces holding its bytes (`content.py`). A multipart upload never copies: the parts'
pieces become the object's.
"""

import asyncio
from typing import Final

from penstock.api import Dispatcher, Service, operations_of
from penstock.core.ids import Ids
from penstock.fanout import Fanout
from penstock.services.s3.acl import Acls
from penstock.services.s3.bucket import Buckets
from penstock.services.s3.change import Changes
from penstock.services.s3.collector import collection
from penstock.services.s3.configuration import Configurations
from penstock.services.s3.content import Contents
from penstock.services.s3.cors import Cors
from penstock.services.s3.lifecycle import Lifecycles
from penstock.services.s3.listing import Listings
from penstock.services.s3.multipart import Multipart, forget
from penstock.services.s3.notification import Notifications
from penstock.services.s3.object import Objects
from penstock.services.s3.unset import Unset
from penstock.services.s3.uploads import Uploads
from penstock.services.s3.version import Versions
from penstock.storage.primitives import Primitives, Store

__all__ = ["S3"]


class S3:
    """The `s3` service over a store, and what it does by itself."""

    def __init__(self, store: Store, ids: Ids, dispatcher: Dispatcher, fanout: Fanout) -> None:
        self._store = store
        self._clock = fanout.clock
        self._engine = fanout.engine
        self._contents = contents = Contents(store, ids)
        self._collection = collection(contents)
        self._sweep: asyncio.Task[None] | None = None

        async def forget_upload(tx: Primitives, bucket: str, upload_id: str, now: int) -> None:
            await forget(tx, contents, bucket, upload_id, now)

        buckets = Buckets(store, forget_upload)
        versions = Versions(store, ids, contents)
        self._notifications = Notifications(store, ids, buckets, dispatcher, fanout)
        changes = Changes(store, buckets, versions, self._notifications)
        lifecycles = Lifecycles(store, ids, fanout.clock, buckets, changes)
        self._rounds = lifecycles.subscription()
        objects = Objects(buckets, versions, changes, contents)
        self.cors: Final = Cors(store, buckets)
        resources = (
            buckets,
            Configurations(store, buckets),
            Listings(store, buckets),
            Unset(buckets),
            self.cors,
            Acls(buckets, versions),
            objects,
            Uploads(store, buckets),
            Multipart(store, ids, buckets, changes, contents, objects.source),
            self._notifications,
            lifecycles,
        )
        self.post: Final = objects.post
        self.service = Service("s3", operations_of(*resources))

    def start(self) -> None:
        """Deliver what was promised, and collect what nobody owns, before a stop or a crash too."""
        self._notifications.start()
        self._engine.add(self._collection)
        self._engine.add(self._rounds)

    def restore(self) -> None:
        """Start, and look for what a crash has left behind."""
        self.start()
        self._sweep = asyncio.create_task(self._contents.sweep(self._clock.now()))

    def idle(self) -> bool:
        """Whether all that a crash may have left behind has been looked at."""
        return self._sweep is None or self._sweep.done()

    async def close(self) -> None:
        """Stop to look."""
        if self._sweep is not None:
            self._sweep.cancel()
            await asyncio.wait([self._sweep])
            self._sweep = None
