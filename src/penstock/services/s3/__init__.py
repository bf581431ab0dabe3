"""S3: buckets, objects with their versions, multipart uploads.

An object is a document that names the blobs holding its bytes. A multipart upload never copies: the parts' blobs become
the object's pieces. Bytes stay in the blob store when an object goes: blobs are shared by digest across services.
"""

from penstock.api import Service, operations_of
from penstock.core.ids import Ids
from penstock.services.s3.bucket import Buckets
from penstock.services.s3.configuration import Configurations
from penstock.services.s3.listing import Listings
from penstock.services.s3.multipart import Multipart
from penstock.services.s3.object import Objects
from penstock.services.s3.version import Versions
from penstock.storage.primitives import Store

__all__ = ["s3_service"]


def s3_service(store: Store, ids: Ids) -> Service:
    """The `s3` service over `store`."""
    buckets = Buckets(store)
    versions = Versions(store, ids)
    objects = Objects(store, buckets, versions)
    resources = (
        buckets,
        Configurations(store, buckets),
        Listings(store, buckets),
        objects,
        Multipart(store, ids, buckets, versions),
    )
    return Service("s3", operations_of(*resources))
