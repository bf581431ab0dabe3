"""Resources that stand for nothing outside the stack."""

from typing import Final

from penstock.core.template.shape import record
from penstock.services.cloudformation.resource import Made, ResourceType, Target, keep


async def _handle(target: Target) -> Made:
    endpoint = target.ctx.endpoint
    return Made(f"{endpoint}/_penstock/wait/{target.name()}")


async def _nothing(target: Target) -> Made:
    return Made(target.name())


async def _unchanged(target: Target) -> Made:
    return Made(target.physical_id)


ROWS: Final = (
    ResourceType(
        name="AWS::CloudFormation::WaitConditionHandle",
        shape=record(""),
        create=_handle,
        update=_unchanged,
        delete=keep,
    ),
    ResourceType(
        name="AWS::CDK::Metadata",
        shape=record("Analytics, -Modules"),
        create=_nothing,
        update=_unchanged,
        delete=keep,
    ),
)
