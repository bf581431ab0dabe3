"""Gateway responses of REST APIs: what an API answers when a request does not get as far as its integration's answer."""

from typing import Any, Final

from penstock.services.cloudformation.resource import Made, ResourceType, Target, answers
from penstock.services.cloudformation.shapes import apigateway

_CONTENT: Final = {
    "ResponseParameters": "responseParameters",
    "ResponseTemplates": "responseTemplates",
    "StatusCode": "statusCode",
}


def _place(target: Target) -> dict[str, Any]:
    return {
        "restApiId": target.properties["RestApiId"],
        "responseType": target.properties["ResponseType"],
    }


async def _put(target: Target) -> Made:
    content = {
        member: target.properties[name]
        for name, member in _CONTENT.items()
        if name in target.properties
    }
    await target.call("apigateway", "PutGatewayResponse", {**_place(target), **content})
    physical_id = target.physical_id or target.name()
    return Made(physical_id, {"Id": physical_id})


async def _found(target: Target) -> bool:
    """Each type is there from the start; what somebody made of it is not the stack's."""
    told = await answers(target, "apigateway", "GetGatewayResponse", _place(target)) or {}
    return told.get("defaultResponse") is False


async def _delete(target: Target) -> None:
    await target.call("apigateway", "DeleteGatewayResponse", _place(target))


ROWS: Final = (
    ResourceType(
        name="AWS::ApiGateway::GatewayResponse",
        shape=apigateway.GATEWAY_RESPONSE,
        immutable=frozenset({"ResponseType", "RestApiId"}),
        create=_put,
        update=_put,
        delete=_delete,
        identity=("ResponseType", "RestApiId"),
        found=_found,
    ),
)
