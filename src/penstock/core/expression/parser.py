"""Parses condition (also filter and key condition), update and projection expressions."""

from collections.abc import Callable
from typing import Final

from penstock.core.expression.lexer import Tokens
from penstock.core.expression.node import (
    OPERANDS,
    Arithmetic,
    Between,
    Call,
    Compare,
    In,
    Logic,
    Node,
    Not,
    Path,
    UpdateNode,
    ValueRef,
)
from penstock.core.expression.reserved import RESERVED

_COMPARATORS: Final = ("=", "<>", "<", "<=", ">", ">=")
# AWS: at most 300 operators or functions in an expression, 100 operands of IN (DynamoDB quotas).
_MAX_OPERATORS: Final = 300
_MAX_CHOICES: Final = 100
# Deeper than anyone writes, shallower than the interpreter's stack.
_MAX_NESTING: Final = 100


def parse_condition(text: str, kind: str) -> Node:
    """The condition in `text`. `kind` names the parameter in errors. Raises `AwsError`."""
    return _Parser(text, kind).condition()


def parse_update(text: str, kind: str = "UpdateExpression") -> UpdateNode:
    """The sections of an update expression. Raises `AwsError`."""
    return _Parser(text, kind).update()


def parse_projection(text: str, kind: str = "ProjectionExpression") -> tuple[Path, ...]:
    """The paths of a projection expression. Raises `AwsError`."""
    return _Parser(text, kind).projection()


class _Parser:
    def __init__(self, text: str, kind: str) -> None:
        self._tokens = Tokens(text, kind)
        self._closed: dict[int, int] = {}
        self._operators = 0
        self._nesting = 0

    def condition(self) -> Node:
        node = self._condition(self._or())
        self._tokens.finish()
        return node

    def projection(self) -> tuple[Path, ...]:
        paths = [self._path()]
        while self._tokens.accept(","):
            paths.append(self._path())
        self._tokens.finish()
        return tuple(paths)

    def update(self) -> UpdateNode:
        tokens = self._tokens
        sections: dict[str, tuple[object, ...]] = {}
        while tokens.peek.kind != "end":
            word = tokens.peek.word
            if word not in ("SET", "REMOVE", "ADD", "DELETE"):
                raise tokens.syntax_error()
            if word.lower() in sections:
                raise tokens.error(
                    f'The "{word}" section can only be used once in an update expression;'
                )
            tokens.take()
            entries: list[object] = [self._action(word)]
            while tokens.accept(","):
                entries.append(self._action(word))
            sections[word.lower()] = tuple(entries)
        return UpdateNode(**sections)  # type: ignore[arg-type]

    def _action(self, word: str) -> object:
        path = self._path()
        if word == "REMOVE":
            return path
        if word == "SET":
            self._tokens.expect("=")
            return path, self._sum()
        token = self._tokens.take()
        if token.kind != "value":
            self._tokens.position -= token.kind != "end"
            raise self._tokens.syntax_error()
        return path, ValueRef(token.text)

    def _sum(self) -> Node:
        left = self._term()
        for operator in ("+", "-"):
            if self._tokens.accept(operator):
                self._count()
                return Arithmetic(operator, left, self._term())
        return left

    def _term(self) -> Node:
        opened = self._tokens.position
        if not self._tokens.accept("("):
            return self._operand()
        self._enter()
        node = self._sum()
        self._leave(opened)
        return node

    # Conditions, loosest first

    def _or(self) -> Node:
        return self._logic("OR", self._and)

    def _and(self) -> Node:
        return self._logic("AND", self._not)

    def _logic(self, operator: str, inner: Callable[[], Node]) -> Node:
        first = inner()
        if self._tokens.peek.word != operator:
            return first
        conditions = [self._condition(first)]
        while self._tokens.accept(operator):
            self._count()
            conditions.append(self._condition(inner()))
        return Logic(operator, tuple(conditions))

    def _not(self) -> Node:
        if not self._tokens.accept("NOT"):
            return self._comparison()
        self._count()
        self._enter()
        node = Not(self._condition(self._not()))
        self._nesting -= 1
        return node

    def _comparison(self) -> Node:
        tokens = self._tokens
        left = self._primary()
        token = tokens.peek
        if not isinstance(left, OPERANDS):
            return left
        if token.kind == "mark" and token.text in _COMPARATORS:
            tokens.take()
            self._count()
            return Compare(token.text, left, self._operand_in_parentheses())
        if tokens.accept("BETWEEN"):
            self._count()
            low = self._operand_in_parentheses()
            tokens.expect("AND")
            return Between(left, low, self._operand_in_parentheses())
        if tokens.accept("IN"):
            self._count()
            return In(left, self._choices())
        return left

    def _choices(self) -> tuple[Node, ...]:
        self._tokens.expect("(")
        choices = [self._operand()]
        while self._tokens.accept(","):
            choices.append(self._operand())
        self._tokens.expect(")")
        if len(choices) > _MAX_CHOICES:
            raise self._tokens.error(
                "Invalid operands for operator or function; operator or function: IN,"
                f" number of operands: {len(choices) + 1}"
            )
        return tuple(choices)

    def _primary(self) -> Node:
        opened = self._tokens.position
        if not self._tokens.accept("("):
            return self._operand()
        self._enter()
        node = self._or()
        self._leave(opened)
        return node

    def _operand_in_parentheses(self) -> Node:
        node = self._primary()
        if not isinstance(node, OPERANDS):
            raise self._tokens.syntax_error()
        return node

    def _condition(self, node: Node) -> Node:
        """Make sure that a node can be true or false; what an operand lacks is an operator."""
        if isinstance(node, Path | ValueRef):
            raise self._tokens.syntax_error()
        return node

    # Operands

    def _operand(self) -> Node:
        token = self._tokens.peek
        if token.kind == "value":
            self._tokens.take()
            return ValueRef(token.text)
        after = self._tokens.second
        if token.kind == "name" and after.kind == "mark" and after.text == "(":
            return self._call()
        return self._path()

    def _call(self) -> Node:
        function = self._tokens.take().text
        self._count()
        self._enter()
        self._tokens.expect("(")
        operands = [self._operand()]
        while self._tokens.accept(","):
            operands.append(self._operand())
        self._tokens.expect(")")
        self._nesting -= 1
        return Call(function, tuple(operands))

    def _path(self) -> Path:
        tokens = self._tokens
        parts: list[str | int] = [self._name()]
        while True:
            if tokens.accept("."):
                parts.append(self._name())
            elif tokens.accept("["):
                if tokens.peek.kind != "index":
                    raise tokens.syntax_error()
                parts.append(int(tokens.take().text))
                tokens.expect("]")
            else:
                return Path(tuple(parts))

    def _name(self) -> str:
        token = self._tokens.peek
        if token.kind not in ("name", "ref"):
            raise self._tokens.syntax_error()
        if token.word in RESERVED:
            raise self._tokens.error(
                f"Attribute name is a reserved keyword; reserved keyword: {token.text}"
            )
        return self._tokens.take().text

    # Limits

    def _count(self) -> None:
        self._operators += 1
        if self._operators > _MAX_OPERATORS:
            raise self._tokens.error(
                f"The expression contains too many operators; operator count: {self._operators}"
            )

    def _enter(self) -> None:
        self._nesting += 1
        if self._nesting > _MAX_NESTING:
            raise self._tokens.error("The expression is nested too deeply;")

    def _leave(self, opened: int) -> None:
        """Close the parenthesis that was opened at a position; one that only holds another is redundant."""
        tokens = self._tokens
        closed = tokens.position
        tokens.expect(")")
        self._nesting -= 1
        self._closed[opened] = closed
        if self._closed.get(opened + 1) == closed - 1:
            raise tokens.error("The expression has redundant parentheses;")
