"""IAM and STS: who may do what, under which credentials.

One package, for both write the same credentials: `Credentials` is what the gateway and the function runtime ask.
"""

from penstock.api import Service, operations_of
from penstock.core.ids import Ids
from penstock.services.iam.credential import Credential, Credentials
from penstock.services.iam.entity import Entities
from penstock.services.iam.policy import Policies
from penstock.services.iam.role import Roles
from penstock.services.iam.sts import Sessions
from penstock.services.iam.user import Users
from penstock.storage.primitives import Store

__all__ = ["Credential", "Credentials", "iam_service", "sts_service"]


def iam_service(store: Store, ids: Ids) -> Service:
    """The `iam` service over `store`."""
    entities = Entities(store)
    resources = (
        Roles(ids, entities),
        Policies(ids, entities),
        Users(ids, entities, Credentials(store, ids)),
    )
    return Service("iam", operations_of(*resources))


def sts_service(store: Store, ids: Ids) -> Service:
    """The `sts` service over `store`."""
    return Service("sts", operations_of(Sessions(Entities(store), Credentials(store, ids))))
