"""CloudFormation: stacks of resources, made and changed through the other services' operations.

`core.template` says what a template means and what an update would do; `executor` does it in the background, step by stored step.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from penstock.api import Dispatcher, Service, operations_of
from penstock.clock import Clock
from penstock.core.ids import Ids
from penstock.services.cloudformation.change_sets import ChangeSets
from penstock.services.cloudformation.deployment import Deployments
from penstock.services.cloudformation.descriptions import Descriptions
from penstock.services.cloudformation.executor import Executor
from penstock.services.cloudformation.operations import Operations
from penstock.services.cloudformation.ownership import Ownership
from penstock.services.cloudformation.resources import resource_types
from penstock.services.cloudformation.stack import Stacks
from penstock.services.cloudformation.templates import Templates
from penstock.services.cloudformation.work import Worker
from penstock.storage.primitives import Store

__all__ = ["CloudFormation", "cloudformation_service"]


@dataclass(frozen=True, slots=True)
class CloudFormation:
    """The service and the life of its background work."""

    service: Service
    restore: Callable[[], Awaitable[None]]
    """To be awaited at start: goes on with interrupted operations."""
    idle: Callable[[], Awaitable[None]]
    """Returns when no operation is under way."""
    close: Callable[[], Awaitable[None]]
    """To be awaited before the store closes."""


def cloudformation_service(
    store: Store, ids: Ids, clock: Clock, dispatcher: Dispatcher
) -> CloudFormation:
    """CloudFormation over `store`; `dispatcher` reaches the services that make the resources."""
    types = resource_types()
    stacks = Stacks(store, ids)
    deployments = Deployments(dispatcher, stacks, types)
    worker = Worker(stacks, ids, clock, dispatcher, types, Ownership(store, stacks))
    executor = Executor(stacks, ids, clock, deployments, worker)
    operations = Operations(ids, stacks, deployments, executor, dispatcher)
    resources = (
        operations,
        Descriptions(stacks),
        Templates(store, stacks, deployments),
        ChangeSets(store, ids, stacks, deployments, operations, types),
    )
    service = Service("cloudformation", operations_of(*resources))
    return CloudFormation(service, executor.restore, executor.idle, executor.close)
