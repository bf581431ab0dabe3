"""DynamoDB's expressions: parsed once for each text, bound to names and values once for each request."""

from penstock.core.expression.condition import Condition, ConditionBinder
from penstock.core.expression.key_condition import KeyCondition, bind_key_condition
from penstock.core.expression.parser import parse_condition, parse_projection, parse_update
from penstock.core.expression.projection import Tree, bind_projection, path_tree, project
from penstock.core.expression.scope import Scope, check_values
from penstock.core.expression.update import Update, bind_update

__all__ = [
    "Condition",
    "ConditionBinder",
    "KeyCondition",
    "Scope",
    "Tree",
    "Update",
    "bind_key_condition",
    "bind_projection",
    "bind_update",
    "check_values",
    "parse_condition",
    "parse_projection",
    "parse_update",
    "path_tree",
    "project",
]
