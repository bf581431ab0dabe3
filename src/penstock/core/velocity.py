"""Velocity templates, compiled to closures.

airspeed parses; its own evaluation is left aside, because it reaches Python attributes, takes Python's view of truth and
text, and looks everything up anew for each request. A template that has been compiled holds no state.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import airspeed

from penstock.core import java

# AWS: a doubled quote within a literal is one quote (Velocity 1.6 and later, VELOCITY-520); airspeed ends the literal.
airspeed.StringLiteral.STRING = re.compile(r"'((?:\\['nrbt\\$]|''|[^'\\])*)'")
airspeed.StringLiteral.ESCAPED_CHAR = re.compile(r"(?:\\|'(?='))([nrbt'\\])")
airspeed.InterpolatedStringLiteral.STRING = re.compile(r'"((?:\\["nrbt\\$]|""|[^"\\])*)"')
airspeed.InterpolatedStringLiteral.ESCAPED_CHAR = re.compile(r'(?:\\|"(?="))([nrbt"\\])')

Scope: TypeAlias = dict[str, Any]
Evaluate: TypeAlias = Callable[[Scope], Any]
Write: TypeAlias = Callable[[Scope, list[str]], None]

# AWS: a mapping template is at most 300 KB and runs a #foreach at most 1,000 times (API Gateway quotas).
MAX_TEMPLATE: Final = 300 * 1024
MAX_LOOPS: Final = 1000
# Missing values of these print nothing; other unknown references print as they are written.
_QUIET: Final = frozenset({"input", "context", "stageVariables"})
_OVERRIDE: Final = re.compile(r"\$!?\{?context\.(?:request|response)Override\.\w+\.[\w-]*-[\w-]*")
_HYPHEN: Final = "_hyphen_"


class TemplateError(ValueError):
    """The template cannot be parsed or evaluated."""


class UnsupportedDirective(TemplateError):
    """The template uses a directive that is not built. The text is its name."""


FAULTS: Final = (TypeError, LookupError, ArithmeticError, re.error, RecursionError)
"""What the evaluation of a template may raise."""


class _Stop(Exception):
    """`#stop` was met."""


class Piece(NamedTuple):
    """A reference in a template."""

    value: Callable[[Scope], str]
    """What it writes; if `encoded`, before that is encoded."""
    encoded: bool
    """Whether it is `$util.urlEncode(...)`."""


class Template:
    """A compiled template: `render(scope)`."""

    __slots__ = ("_write", "pieces")

    def __init__(self, text: str) -> None:
        """Compile. Raises TemplateError."""
        if len(text) > MAX_TEMPLATE:
            raise TemplateError("the template is larger than 300 KB")
        # A header's hyphens are part of a name in Velocity, and are not to airspeed.
        text = _OVERRIDE.sub(lambda found: found[0].replace("-", _HYPHEN), text)
        try:
            parsed = airspeed.TemplateBody("template", text)
        except (airspeed.TemplateError, airspeed.NoMatch, RecursionError) as error:
            raise TemplateError(str(error)) from None
        self._write = _block(parsed.block)
        self.pieces = _pieces(parsed.block)
        """Text and references in turn; None where there are directives."""

    def render(self, scope: Scope) -> str:
        """Evaluate with the variables of `scope`, which `#set` changes. Raises TemplateError."""
        out: list[str] = []
        try:
            self._write(scope, out)
        except _Stop:
            pass
        except FAULTS as error:
            raise TemplateError(str(error)) from error
        return "".join(out)


def _pieces(block: Any) -> list[str | Piece] | None:
    """The text and references of a block that has nothing else; None for one with directives."""
    pieces: list[str | Piece] = []
    for child in block.children:
        if isinstance(child, airspeed.FormalReference):
            pieces.append(child.my_text() if child.expression is None else _piece(child))
        elif isinstance(child, airspeed.Text | airspeed.FallthroughHashText):
            pieces.append(child.text)
        elif not _silent(child):
            return None
    return pieces


def _piece(element: Any) -> Piece:
    part, rest = element.expression.part, element.expression.subexpression
    plain = part.parameters is part.index is element.alternate is None
    if part.name == "util" and plain and rest is not None:
        step = rest.expression
        if not isinstance(step, airspeed.ArrayIndex) and step.part.name == "urlEncode":
            arguments = list(_parameters(step.part.parameters))
            if len(arguments) == 1 and step.part.index is step.subexpression is None:
                value = _value(arguments[0])
                return Piece(lambda scope: java.text_of(value(scope)), True)
    write = _reference(element)

    def written(scope: Scope) -> str:
        out: list[str] = []
        write(scope, out)
        return out[0]

    return Piece(written, False)


def _block(element: Any) -> Write:
    children = [_WRITERS[type(child)](child) for child in element.children if not _silent(child)]
    if len(children) == 1:
        return children[0]

    def write(scope: Scope, out: list[str]) -> None:
        for child in children:
            child(scope, out)

    return write


def _silent(element: Any) -> bool:
    return isinstance(element, airspeed.Comment)


def _text(element: Any) -> Write:
    text = element.text
    return lambda scope, out: out.append(text)


def _reference(element: Any) -> Write:
    if element.expression is None:
        literal = element.my_text()
        return lambda scope, out: out.append(literal)
    value = _value(element)
    quiet = element.silent or element.expression.part.name in _QUIET
    missing = "" if quiet else element.my_text()

    def write(scope: Scope, out: list[str]) -> None:
        found = value(scope)
        if found is None:
            out.append(missing)
        else:
            out.append(found if type(found) is str else java.text_of(found))

    return write


def _if(element: Any) -> Write:
    arms = [(_condition(element.condition), _block(element.block))]
    arms += [(_condition(arm.condition), _block(arm.block)) for arm in element.elseifs]
    otherwise = element.else_block
    last = _block(otherwise.block) if isinstance(otherwise, airspeed.ElseBlock) else None

    def write(scope: Scope, out: list[str]) -> None:
        for test, block in arms:
            if java.truth(test(scope)):
                block(scope, out)
                return
        if last is not None:
            last(scope, out)

    return write


def _condition(element: Any) -> Evaluate:
    return _expression(element.calculate.__self__)


def _set(element: Any) -> Write:
    value = _expression(element.value)
    first, *path = [term.replace(_HYPHEN, "-") for term in element.terms]

    def write(scope: Scope, out: list[str]) -> None:
        result = value(scope)
        if not path:
            # AWS: Velocity 1.7 leaves a variable as it was when null is assigned to it.
            if result is not None:
                scope[first] = result
            return
        target = scope.get(first)
        for name in path[:-1]:
            target = java.property_of(target, name)
        if isinstance(target, dict):
            target[path[-1]] = result

    return write


def _foreach(element: Any) -> Write:
    items = _value(element.value)
    block = _block(element.block)
    name = element.loop_var_name

    def write(scope: Scope, out: list[str]) -> None:
        values = _iterable(items(scope))
        if len(values) > MAX_LOOPS:
            raise TemplateError("a #foreach runs more than 1,000 times")
        before = {key: scope.get(key) for key in (name, "foreach", "velocityCount")}
        for index, value in enumerate(values):
            scope[name] = value
            scope["velocityCount"] = index + 1
            scope["foreach"] = {
                "index": index,
                "count": index + 1,
                "hasNext": index + 1 < len(values),
                "first": index == 0,
                "last": index + 1 == len(values),
                "parent": before["foreach"],
            }
            block(scope, out)
        scope.update(before)

    return write


def _iterable(value: Any) -> list[Any]:
    """AWS: Velocity runs through the values of a map, not its keys; through nothing when the value is no collection."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _stop(_: Any) -> Write:
    def write(scope: Scope, out: list[str]) -> None:
        raise _Stop

    return write


def _unsupported(name: str) -> Callable[[Any], Write]:
    def refuse(_: Any) -> Write:
        raise UnsupportedDirective(name)

    return refuse


def _value(element: Any) -> Evaluate:
    """Compile whatever has a value."""
    return _VALUES[type(element)](element)


def _formal(element: Any) -> Evaluate:
    if element.expression is None:
        literal = element.my_text()
        return lambda scope: literal
    value = _variable(element.expression)
    if element.alternate is None:
        return value
    other = _value(element.alternate.expression)

    def choose(scope: Scope) -> Any:
        found = value(scope)
        return found if found is not None else other(scope)

    return choose


def _variable(element: Any) -> Evaluate:
    part = element.part
    name = part.name

    def root(scope: Scope) -> Any:
        return scope.get(name)

    return _followed(_indexed(root, part), element.subexpression)


def _indexed(value: Evaluate, part: Any) -> Evaluate:
    if part.index is None:
        return value
    index = _value(part.index.index)
    return lambda scope: java.element_of(value(scope), index(scope))


def _followed(value: Evaluate, rest: Any) -> Evaluate:
    """`value` and what follows it: properties, calls and indices."""
    while rest is not None:
        step = rest.expression
        if isinstance(step, airspeed.ArrayIndex):
            value = _at(value, _value(step.index))
            rest = rest.subexpression
            continue
        part = step.part
        name = part.name.replace(_HYPHEN, "-")
        if part.parameters is not None:
            value = _called(value, name, [_value(item) for item in _parameters(part.parameters)])
        else:
            value = _indexed(_property(value, name), part)
        rest = step.subexpression
    return value


def _at(value: Evaluate, index: Evaluate) -> Evaluate:
    return lambda scope: java.element_of(value(scope), index(scope))


def _property(value: Evaluate, name: str) -> Evaluate:
    property_of = java.property_of
    return lambda scope: property_of(value(scope), name)


def _called(value: Evaluate, name: str, arguments: list[Evaluate]) -> Evaluate:
    call = java.call
    if len(arguments) == 1:
        argument = arguments[0]
        return lambda scope: call(value(scope), name, [argument(scope)])
    return lambda scope: call(value(scope), name, [argument(scope) for argument in arguments])


def _parameters(element: Any) -> Iterable[Any]:
    return () if element is None else getattr(element.values, "values", ())


def _expression(element: Any) -> Evaluate:
    """A chain of values and operators, by precedence; `&&` and `||` look no further than they must."""
    terms = element.expression
    values = [_value(terms[0])]
    pending: list[Any] = []
    for at in range(1, len(terms), 2):
        while pending and not terms[at].greater_precedence_than(pending[-1]):
            _reduce(values, pending.pop())
        pending.append(terms[at])
        values.append(_value(terms[at + 1]))
    while pending:
        _reduce(values, pending.pop())
    return values[0]


def _reduce(values: list[Evaluate], element: Any) -> None:
    right, left = values.pop(), values.pop()
    sign = element.my_text().strip()
    if sign in ("&&", "and"):
        values.append(lambda scope: java.truth(left(scope)) and java.truth(right(scope)))
    elif sign in ("||", "or"):
        values.append(lambda scope: java.truth(left(scope)) or java.truth(right(scope)))
    else:
        apply = _OPERATORS[sign]
        values.append(lambda scope: apply(left(scope), right(scope)))


def _not(element: Any) -> Evaluate:
    value = _value(element.value)
    return lambda scope: not java.truth(value(scope))


def _constant(element: Any) -> Evaluate:
    value = element.value
    return lambda scope: value


def _null(_: Any) -> Evaluate:
    return lambda scope: None


def _interpolated(element: Any) -> Evaluate:
    write = _block(element.block)

    def join(scope: Scope) -> str:
        out: list[str] = []
        write(scope, out)
        return "".join(out)

    return join


def _array(element: Any) -> Evaluate:
    source = element.values
    if isinstance(source, airspeed.Range):
        low, high = _value(source.value1), _value(source.value2)

        def span(scope: Scope) -> Any:
            first, last = low(scope), high(scope)
            step = 1 if first <= last else -1
            return java.JavaList(range(first, last + step, step))

        return span
    values = [_value(item) for item in getattr(source, "values", ())]
    return lambda scope: java.JavaList(value(scope) for value in values)


def _map(element: Any) -> Evaluate:
    pairs = [(_value(key), _value(value)) for key, value in element.local_data.items()]
    return lambda scope: {java.text_of(key(scope)): value(scope) for key, value in pairs}


def _wrapped(element: Any) -> Evaluate:
    return _value(element.expression)


def _parenthesized(element: Any) -> Evaluate:
    return _expression(element.calculate.__self__)


_OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "==": java.equal,
    "eq": java.equal,
    "!=": lambda left, right: not java.equal(left, right),
    "ne": lambda left, right: not java.equal(left, right),
    "<": java.compare(operator.lt),
    "lt": java.compare(operator.lt),
    "<=": java.compare(operator.le),
    "le": java.compare(operator.le),
    ">": java.compare(operator.gt),
    "gt": java.compare(operator.gt),
    ">=": java.compare(operator.ge),
    "ge": java.compare(operator.ge),
    "+": java.add,
    "-": java.subtract,
    "*": java.multiply,
    "/": java.divide,
    "%": java.remainder,
}
_WRITERS: Final[Mapping[type, Callable[[Any], Write]]] = {
    airspeed.Text: _text,
    airspeed.FallthroughHashText: _text,
    airspeed.FormalReference: _reference,
    airspeed.IfDirective: _if,
    airspeed.SetDirective: _set,
    airspeed.ForeachDirective: _foreach,
    airspeed.StopDirective: _stop,
    airspeed.IncludeDirective: _unsupported("#include"),
    airspeed.ParseDirective: _unsupported("#parse"),
    airspeed.MacroDefinition: _unsupported("#macro"),
    airspeed.MacroCall: _unsupported("#macro"),
    airspeed.DefineDefinition: _unsupported("#define"),
    airspeed.EvaluateDirective: _unsupported("#evaluate"),
}
_VALUES: Final[Mapping[type, Callable[[Any], Evaluate]]] = {
    airspeed.Value: _wrapped,
    airspeed.Expression: _expression,
    airspeed.FormalReference: _formal,
    airspeed.FloatingPointLiteral: _constant,
    airspeed.IntegerLiteral: _constant,
    airspeed.StringLiteral: _constant,
    airspeed.InterpolatedStringLiteral: _interpolated,
    airspeed.ArrayLiteral: _array,
    airspeed.DictionaryLiteral: _map,
    airspeed.ParenthesizedExpression: _parenthesized,
    airspeed.UnaryOperatorValue: _not,
    airspeed.BooleanLiteral: _constant,
    airspeed.NullLiteral: _null,
}
