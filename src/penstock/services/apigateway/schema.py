"""JSON schemas of an API's models. Imported when an API has them: the library takes long to load."""

from collections.abc import Callable
from typing import Any

import orjson
from jsonschema import Draft4Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT4

from penstock.services.apigateway.repository import Document


def checks(api: Document, models: dict[str, str]) -> dict[str, Callable[[Any], bool]]:
    """For each media type the test of its model. `models` maps media types to names of models."""
    registry = _registry(api)
    return {
        kind.lower(): _check(
            Draft4Validator(
                orjson.loads(api["models"][name].get("schema") or "{}"), registry=registry
            )
        )
        for kind, name in models.items()
    }


def _check(schema: Draft4Validator) -> Callable[[Any], bool]:
    def fits(document: Any) -> bool:
        try:
            return bool(schema.is_valid(document))
        except (SchemaError, Unresolvable):
            return False

    return fits


def _registry(api: Document) -> Any:
    """The API's models by the addresses under which they refer to each other."""
    prefix = f"https://apigateway.amazonaws.com/restapis/{api['id']}/models/"
    return Registry().with_resources(
        (
            prefix + name,
            Resource.from_contents(
                orjson.loads(model.get("schema") or "{}"), default_specification=DRAFT4
            ),
        )
        for name, model in api["models"].items()
    )
