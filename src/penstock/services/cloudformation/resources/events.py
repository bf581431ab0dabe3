"""EventBridge: buses and their policies, rules with targets, archives, connections and API destinations."""

import re
from typing import Any, Final

import orjson

from penstock.core.errors import AwsError
from penstock.services.cloudformation.resource import (
    Made,
    Properties,
    ResourceType,
    Target,
    answers,
    is_gone,
    there,
)
from penstock.services.cloudformation.shapes import events

_DEFAULT: Final = "default"
_STATEMENT_ID: Final = re.compile(r"[a-zA-Z0-9-_]{1,64}")
_NO_STATEMENT_ID: Final = (
    "StatementId must have 1 to 64 characters and match the pattern [a-zA-Z0-9-_]+"
)


def _arn(target: Target, resource: str) -> str:
    return f"arn:aws:events:{target.ctx.region}:{target.ctx.account}:{resource}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


async def _retag(target: Target, arn: str) -> None:
    if target.changed("Tags"):
        if removed := target.tags_removed():
            await target.call("events", "UntagResource", {"ResourceARN": arn, "TagKeys": removed})
        if tags := target.properties.get("Tags"):
            await target.call("events", "TagResource", {"ResourceARN": arn, "Tags": tags})


# Buses.


async def _create_bus(target: Target) -> Made:
    request = target.given(("Name", "Description", "DeadLetterConfig", "Tags"))
    await target.make("events", "CreateEventBus", request)
    await target.hold(request["Name"])
    await _put_bus_policy(target, request["Name"])
    return _bus(target, request["Name"])


async def _update_bus(target: Target) -> Made:
    name = target.physical_id
    unsaid: Properties = {"Description": "", "DeadLetterConfig": {}}
    request = {"Name": name, **unsaid, **target.given(("Description", "DeadLetterConfig"))}
    await target.call("events", "UpdateEventBus", request)
    await _retag(target, _arn(target, f"event-bus/{name}"))
    await _put_bus_policy(target, name)
    return _bus(target, name)


async def _put_bus_policy(target: Target, name: str) -> None:
    if "Policy" in target.properties:
        request = {"EventBusName": name, "Policy": _text(target.properties["Policy"])}
        await target.call("events", "PutPermission", request)
    elif "Policy" in target.previous:
        everything = {"EventBusName": name, "RemoveAllPermissions": True}
        await target.drop("events", "RemovePermission", everything)


async def _delete_bus(target: Target) -> None:
    await target.call("events", "DeleteEventBus", {"Name": target.physical_id})


def _bus(target: Target, name: str) -> Made:
    attributes: dict[str, Any] = {"Arn": _arn(target, f"event-bus/{name}"), "Name": name}
    if "Policy" in target.properties:
        attributes["Policy"] = _text(target.properties["Policy"])
    return Made(name, attributes)


async def _put_statement(target: Target) -> Made:
    given = target.properties
    bus = given.get("EventBusName", _DEFAULT)
    if "Statement" in given:
        if _STATEMENT_ID.fullmatch(given["StatementId"]) is None:
            raise AwsError("ValidationError", _NO_STATEMENT_ID, status=400)
        found = await target.call("events", "DescribeEventBus", {"Name": bus})
        policy = orjson.loads(found.get("Policy") or '{"Version":"2012-10-17","Statement":[]}')
        others = [one for one in policy["Statement"] if one.get("Sid") != given["StatementId"]]
        statement = {"Sid": given["StatementId"], **_statement(given["Statement"])}
        changed = {**policy, "Statement": [*others, statement]}
        request = {"EventBusName": bus, "Policy": _text(changed)}
    else:
        names = ("Action", "Principal", "StatementId", "Condition")
        request = {"EventBusName": bus, **target.given(names)}
    await target.call("events", "PutPermission", request)
    return Made(target.physical_id or target.name())


def _statement(given: Any) -> dict[str, Any]:
    """A statement of a policy, given as an object or as the text of one. Raises ValidationError."""
    try:
        statement = orjson.loads(given) if isinstance(given, str) else given
    except orjson.JSONDecodeError:
        statement = None
    if not isinstance(statement, dict):
        raise AwsError("ValidationError", "Statement must be a JSON object", status=400)
    return statement


async def _statement_found(target: Target) -> bool:
    bus = {"Name": target.properties.get("EventBusName", _DEFAULT)}
    told = await answers(target, "events", "DescribeEventBus", bus) or {}
    policy = orjson.loads(told.get("Policy") or "{}")
    sid = target.properties["StatementId"]
    return any(one.get("Sid") == sid for one in policy.get("Statement", []))


async def _delete_statement(target: Target) -> None:
    given = target.properties
    request = {
        "EventBusName": given.get("EventBusName", _DEFAULT),
        "StatementId": given["StatementId"],
    }
    await target.drop("events", "RemovePermission", request)


# Rules.


async def _create_rule(target: Target) -> Made:
    name = target.properties.get("Name") or target.name(64)
    bus = _bus_name(target.properties)
    await _put_rule(target, name, target.given(("Tags",)))
    await target.hold(_rule_id(bus, name))
    await _put_targets(target, name, target.properties.get("Targets", []))
    return _rule(target, name)


async def _update_rule(target: Target) -> Made:
    name = target.physical_id.rpartition("|")[2]
    await _put_rule(target, name, {})
    targets = target.properties.get("Targets", [])
    kept = {one["Id"] for one in targets}
    gone = [one["Id"] for one in target.previous.get("Targets", []) if one["Id"] not in kept]
    if gone:
        request = {"Rule": name, "EventBusName": _bus_name(target.properties), "Ids": gone}
        await target.call("events", "RemoveTargets", request)
    await _put_targets(target, name, targets)
    made = _rule(target, name)
    await _retag(target, made.attributes["Arn"])
    return made


async def _put_rule(target: Target, name: str, more: Properties) -> None:
    request = {
        "Name": name,
        "EventBusName": _bus_name(target.properties),
        **target.given(("Description", "RoleArn", "ScheduleExpression", "State")),
        **more,
    }
    if "EventPattern" in target.properties:
        request["EventPattern"] = _text(target.properties["EventPattern"])
    await target.call("events", "PutRule", request)


async def _put_targets(target: Target, name: str, targets: list[Properties]) -> None:
    if targets:
        request = {"Rule": name, "EventBusName": _bus_name(target.properties), "Targets": targets}
        await target.call("events", "PutTargets", request)


async def _delete_rule(target: Target) -> None:
    bus, _, name = target.physical_id.rpartition("|")
    where = {"EventBusName": bus or _DEFAULT}
    try:
        found = await target.call("events", "ListTargetsByRule", {"Rule": name, **where})
    except AwsError as error:
        if is_gone(error):
            return
        raise
    if ids := [one["Id"] for one in found["Targets"]]:
        await target.drop("events", "RemoveTargets", {"Rule": name, "Ids": ids, **where})
    await target.drop("events", "DeleteRule", {"Name": name, **where})


def _bus_name(properties: Properties) -> str:
    """The name of the bus: templates give the name or the ARN."""
    given = str(properties.get("EventBusName", _DEFAULT))
    return given.rpartition("event-bus/")[2] if given.startswith("arn:") else given


def _rule_id(bus: str, name: str) -> str:
    # AWS: Ref of a rule on a custom bus is BUS|RULE (CloudFormation reference, AWS::Events::Rule).
    return name if bus == _DEFAULT else f"{bus}|{name}"


def _rule(target: Target, name: str) -> Made:
    bus = _bus_name(target.properties)
    path = name if bus == _DEFAULT else f"{bus}/{name}"
    return Made(_rule_id(bus, name), {"Arn": _arn(target, f"rule/{path}")})


# Archives.


async def _create_archive(target: Target) -> Made:
    name = target.properties.get("ArchiveName") or target.name(48)
    request = {"EventSourceArn": target.properties["SourceArn"], **_archive(target, name)}
    await target.make("events", "CreateArchive", request)
    return _made_archive(target, name)


async def _update_archive(target: Target) -> Made:
    name = target.physical_id
    # What the template no longer says goes back to what it is without it.
    unsaid = {"RetentionDays": 0, "Description": "", "EventPattern": ""}
    await target.call("events", "UpdateArchive", {**unsaid, **_archive(target, name)})
    return _made_archive(target, name)


def _archive(target: Target, name: str) -> Properties:
    request = {"ArchiveName": name, **target.given(("Description", "RetentionDays"))}
    if "EventPattern" in target.properties:
        request["EventPattern"] = _text(target.properties["EventPattern"])
    return request


async def _delete_archive(target: Target) -> None:
    await target.call("events", "DeleteArchive", {"ArchiveName": target.physical_id})


def _made_archive(target: Target, name: str) -> Made:
    return Made(name, {"Arn": _arn(target, f"archive/{name}"), "ArchiveName": name})


# Connections and API destinations.

_CONNECTION: Final = ("AuthParameters", "AuthorizationType", "Description")
_DESTINATION: Final = (
    "ConnectionArn",
    "Description",
    "HttpMethod",
    "InvocationEndpoint",
    "InvocationRateLimitPerSecond",
)


async def _create_connection(target: Target) -> Made:
    name = target.properties.get("Name") or target.name(64)
    request = {"Name": name, **target.given(_CONNECTION)}
    await target.make("events", "CreateConnection", request)
    return await _connection(target, name)


async def _update_connection(target: Target) -> Made:
    name = target.physical_id
    request = {"Name": name, "Description": "", **target.given(_CONNECTION)}
    request["AuthParameters"] = _auth_parameters(request["AuthParameters"])
    await target.call("events", "UpdateConnection", request)
    return await _connection(target, name)


def _auth_parameters(given: Properties) -> Properties:
    """Those of an update, which leaves what it does not name: lists that the template does not say are empty."""
    unsaid: Properties = {f"{place}Parameters": [] for place in ("Body", "Header", "QueryString")}
    parameters = {
        **given,
        "InvocationHttpParameters": {**unsaid, **given.get("InvocationHttpParameters", {})},
    }
    if oauth := given.get("OAuthParameters"):
        more = {**unsaid, **oauth.get("OAuthHttpParameters", {})}
        parameters["OAuthParameters"] = {**oauth, "OAuthHttpParameters": more}
    return parameters


async def _connection(target: Target, name: str) -> Made:
    found = await target.call("events", "DescribeConnection", {"Name": name})
    arn = found["ConnectionArn"]
    attributes = {
        "Arn": arn,
        "ArnForPolicy": arn.rpartition("/")[0],
        "SecretArn": found["SecretArn"],
    }
    return Made(name, attributes)


async def _delete_connection(target: Target) -> None:
    await target.call("events", "DeleteConnection", {"Name": target.physical_id})


async def _create_destination(target: Target) -> Made:
    name = target.properties.get("Name") or target.name(64)
    request = {"Name": name, **target.given(_DESTINATION)}
    await target.make("events", "CreateApiDestination", request)
    return await _destination(target, name)


async def _update_destination(target: Target) -> Made:
    name = target.physical_id
    unsaid: Properties = {"Description": "", "InvocationRateLimitPerSecond": 300}
    request = {"Name": name, **unsaid, **target.given(_DESTINATION)}
    await target.call("events", "UpdateApiDestination", request)
    return await _destination(target, name)


async def _destination(target: Target, name: str) -> Made:
    found = await target.call("events", "DescribeApiDestination", {"Name": name})
    arn = found["ApiDestinationArn"]
    return Made(name, {"Arn": arn, "ArnForPolicy": arn.rpartition("/")[0]})


async def _delete_destination(target: Target) -> None:
    await target.call("events", "DeleteApiDestination", {"Name": target.physical_id})


ROWS: Final = (
    ResourceType(
        name="AWS::Events::EventBus",
        shape=events.EVENT_BUS,
        immutable=frozenset({"Name"}),
        create=_create_bus,
        update=_update_bus,
        delete=_delete_bus,
        identity=("Name",),
        found=there("events", "DescribeEventBus", Name="Name"),
        tags="list",
    ),
    ResourceType(
        name="AWS::Events::EventBusPolicy",
        shape=events.EVENT_BUS_POLICY,
        immutable=frozenset({"EventBusName", "StatementId"}),
        create=_put_statement,
        update=_put_statement,
        delete=_delete_statement,
        identity=("StatementId", "EventBusName"),
        found=_statement_found,
    ),
    ResourceType(
        name="AWS::Events::Rule",
        shape=events.RULE,
        immutable=frozenset({"EventBusName", "Name"}),
        create=_create_rule,
        update=_update_rule,
        delete=_delete_rule,
        identity=("Name", "EventBusName"),
        found=there("events", "DescribeRule", Name="Name", EventBusName="EventBusName"),
    ),
    ResourceType(
        name="AWS::Events::Archive",
        shape=events.ARCHIVE,
        immutable=frozenset({"ArchiveName", "SourceArn"}),
        create=_create_archive,
        update=_update_archive,
        delete=_delete_archive,
        identity=("ArchiveName",),
        found=there("events", "DescribeArchive", ArchiveName="ArchiveName"),
    ),
    ResourceType(
        name="AWS::Events::Connection",
        shape=events.CONNECTION,
        immutable=frozenset({"Name"}),
        create=_create_connection,
        update=_update_connection,
        delete=_delete_connection,
        identity=("Name",),
        found=there("events", "DescribeConnection", Name="Name"),
    ),
    ResourceType(
        name="AWS::Events::ApiDestination",
        shape=events.API_DESTINATION,
        immutable=frozenset({"Name"}),
        create=_create_destination,
        update=_update_destination,
        delete=_delete_destination,
        identity=("Name",),
        found=there("events", "DescribeApiDestination", Name="Name"),
    ),
)
