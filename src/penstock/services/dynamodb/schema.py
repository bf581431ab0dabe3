"""What a table may be made of: keys, indexes, throughput, as CreateTable and UpdateTable give them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from penstock.api import Request, refuse
from penstock.core.dynamo_value import invalid, invalid_parameters

# AWS: indexes of a table, and names that INCLUDE projections of a table may list (DynamoDB quotas).
_MAX_LOCAL: Final = 5
_MAX_GLOBAL: Final = 20
_MAX_INCLUDED: Final = 100


def key_schema(elements: Sequence[Mapping[str, str]]) -> list[str]:
    """The names of the hash key and perhaps the range key. Raises `AwsError`."""
    names = [element["AttributeName"] for element in elements]
    kinds = [element["KeyType"] for element in elements]
    if len(names) > 2:
        raise refuse("keys of several attributes")
    if kinds[0] != "HASH":
        raise invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    if len(names) == 2:
        if names[0] == names[1]:
            raise invalid(
                "Both the Hash Key and the Range Key element in the KeySchema have the same name"
            )
        if kinds[1] != "RANGE":
            raise invalid("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")
    return names


def attribute_types(definitions: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Types of key attributes by name. Raises `AwsError`."""
    types: dict[str, str] = {}
    for definition in definitions:
        name = definition["AttributeName"]
        if name in types:
            raise invalid_parameters("Cannot add, or overwrite an attribute definition")
        types[name] = definition["AttributeType"]
    return types


def secondary_indexes(request: Request, schema: list[str]) -> list[dict[str, Any]]:
    """The indexes of a CreateTable as they are stored. Raises `AwsError`."""
    local = request.get("LocalSecondaryIndexes")
    remote = request.get("GlobalSecondaryIndexes")
    for given, title in ((local, "LocalSecondaryIndexes"), (remote, "GlobalSecondaryIndexes")):
        if given is not None and not given:
            raise invalid_parameters(f"List of {title} is empty")
    if local and len(schema) == 1:
        raise invalid_parameters(
            "Table KeySchema does not have a range key,"
            " which is required when specifying a LocalSecondaryIndex"
        )
    indexes = [
        *(stored_index(index, is_global=False) for index in local or ()),
        *(stored_index(index, is_global=True) for index in remote or ()),
    ]
    for index in indexes:
        if not index["is_global"]:
            _check_local(index, schema)
    if len(local or ()) > _MAX_LOCAL:
        raise invalid_parameters(
            f"Number of LocalSecondaryIndexes exceeds per-table limit of {_MAX_LOCAL}"
        )
    check_indexes(indexes)
    return indexes


def _check_local(index: Mapping[str, Any], schema: list[str]) -> None:
    if len(index["schema"]) == 1:
        raise invalid_parameters(
            f"Index KeySchema does not have a range key for index: {index['name']}"
        )
    if index["schema"][0] != schema[0]:
        raise invalid_parameters(
            "Index KeySchema does not have the same leading hash key as table KeySchema for index:"
            f" {index['name']}. index hash key: {index['schema'][0]}, table hash key: {schema[0]}"
        )


def stored_index(given: Mapping[str, Any], *, is_global: bool) -> dict[str, Any]:
    """An index of a request as it is stored. Raises `AwsError`."""
    projection = given.get("Projection") or {}
    kind = projection.get("ProjectionType")
    if kind is None:
        raise invalid_parameters("Unknown ProjectionType: null")
    included = projection.get("NonKeyAttributes")
    if included is not None and kind != "INCLUDE":
        raise invalid_parameters(f"ProjectionType is {kind}, but NonKeyAttributes is specified")
    if kind == "INCLUDE" and not included:
        raise invalid_parameters("ProjectionType is INCLUDE, but NonKeyAttributes is not specified")
    return {
        "name": given["IndexName"],
        "schema": key_schema(given["KeySchema"]),
        "projection": kind,
        "included": list(included or ()),
        "is_global": is_global,
        "throughput": throughput_of(given),
    }


def check_indexes(indexes: Sequence[Mapping[str, Any]]) -> None:
    """Names and numbers of a table's indexes. Raises `AwsError`."""
    names: set[str] = set()
    for index in indexes:
        if index["name"] in names:
            raise invalid_parameters(f"Duplicate index name: {index['name']}")
        names.add(index["name"])
    if sum(index["is_global"] for index in indexes) > _MAX_GLOBAL:
        raise invalid_parameters(
            f"GlobalSecondaryIndex count exceeds the per-table limit of {_MAX_GLOBAL}"
        )
    included = sum(len(index["included"]) for index in indexes)
    if included > _MAX_INCLUDED:
        raise invalid_parameters(
            "Number of projected attributes in all indexes exceeds limit of"
            f" {_MAX_INCLUDED}, number of projected attributes: {included}"
        )


def check_definitions(
    types: Mapping[str, str], schema: list[str], indexes: Sequence[Mapping[str, Any]]
) -> None:
    """The definitions must be of the key attributes of the table and its indexes, all and only them."""
    shown = f"AttributeDefinitions: [{', '.join(types)}]"
    missing = [name for name in schema if name not in types]
    if missing:
        raise invalid_parameters(
            "Some index key attributes are not defined in AttributeDefinitions."
            f" Keys: [{', '.join(schema)}], {shown}"
        )
    for index in indexes:
        if any(name not in types for name in index["schema"]):
            raise invalid_parameters(
                "Some index key attributes are not defined in AttributeDefinitions."
                f" Keys: [{', '.join(index['schema'])}], {shown}"
            )
    used = {*schema, *(name for index in indexes for name in index["schema"])}
    if len(used) != len(types):
        if not indexes:
            raise invalid_parameters(
                "Number of attributes in KeySchema does not exactly match number of attributes"
                " defined in AttributeDefinitions"
            )
        raise invalid_parameters(
            "Some AttributeDefinitions are not used."
            f" {shown}, keys used: [{', '.join(sorted(used))}]"
        )


def throughput_of(given: Mapping[str, Any]) -> dict[str, int]:
    """The provisioned units of a table or index; zeros when it has none."""
    throughput = given.get("ProvisionedThroughput") or {}
    return {
        "read": throughput.get("ReadCapacityUnits", 0),
        "write": throughput.get("WriteCapacityUnits", 0),
    }


def check_billing(billing: str, given: Mapping[str, Any]) -> None:
    """Units must be given for PROVISIONED and must not for PAY_PER_REQUEST. Raises `AwsError`."""
    throughput = given.get("ProvisionedThroughput")
    if billing == "PAY_PER_REQUEST":
        if throughput is not None:
            raise invalid_parameters(
                "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified"
                " when BillingMode is PAY_PER_REQUEST"
            )
    elif throughput is None:
        raise invalid_parameters(
            "ReadCapacityUnits and WriteCapacityUnits must both be specified"
            " when BillingMode is PROVISIONED"
        )
