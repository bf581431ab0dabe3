"""Values as Velocity's Java sees them: how they print, compare and add, and which methods they have.

JSON values stand for themselves. A list written in a template is a `JavaList`: it prints as an ArrayList does, where
one that was read from JSON prints as JSON.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

Method = Callable[..., Any]


class JavaList(list[Any]):
    """A list that was written in a template."""


class Bean:
    """An object of ours in a template. `methods` are what a template may call; nothing else can be reached."""

    methods: Mapping[str, Method] = {}

    def property(self, _: str) -> Any:
        """A property by name; None when there is none."""
        return None


def text_of(value: Any) -> str:
    """What `toString` prints."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    if isinstance(value, dict):
        pairs = (f"{key}={text_of(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, JavaList):
        return f"[{', '.join(text_of(item) for item in value)}]"
    if isinstance(value, list):
        return orjson.dumps(value).decode()
    return str(value)


_WORDS: Final = {None: "null", True: "true", False: "false"}


def truth(value: Any) -> bool:
    """AWS: Velocity 1.7 takes everything for true but null and Boolean false: also 0 and the empty string."""
    return value is not None and value is not False


def equal(left: Any, right: Any) -> bool:
    """Velocity's `==`: numbers by value, things of one class by themselves, others by what they print."""
    if left is None or right is None:
        return left is right
    if type(left) is type(right) or (_number(left) and _number(right)):
        return bool(left == right)
    return text_of(left) == text_of(right)


def add(left: Any, right: Any) -> Any:
    """Velocity's `+`, which joins text as soon as one side is text."""
    if isinstance(left, str) or isinstance(right, str):
        return text_of(left) + text_of(right)
    return _arithmetic(left, right, lambda a, b: a + b)


def subtract(left: Any, right: Any) -> Any:
    """Velocity's `-`."""
    return _arithmetic(left, right, lambda a, b: a - b)


def multiply(left: Any, right: Any) -> Any:
    """Velocity's `*`."""
    return _arithmetic(left, right, lambda a, b: a * b)


def divide(left: Any, right: Any) -> Any:
    """Velocity's `/`: integers truncate toward zero; null for a division by zero."""

    def quotient(a: Any, b: Any) -> Any:
        if b == 0:
            return None
        if isinstance(a, int) and isinstance(b, int):
            return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        return a / b

    return _arithmetic(left, right, quotient)


def remainder(left: Any, right: Any) -> Any:
    """Velocity's `%`: it has the sign of the dividend."""

    def rest(a: Any, b: Any) -> Any:
        whole = divide(a, b)
        return None if whole is None else a - b * int(whole)

    return _arithmetic(left, right, rest)


def compare(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """An ordering of numbers; false for anything else."""
    return lambda left, right: _number(left) and _number(right) and test(left, right)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _arithmetic(left: Any, right: Any, apply: Callable[[Any, Any], Any]) -> Any:
    return apply(left, right) if _number(left) and _number(right) else None


def property_of(value: Any, name: str) -> Any:
    """`$value.name`: an entry of a map, a property of one of our objects; else null."""
    if isinstance(value, dict):
        # Not `get`: $context computes some of its entries when they are asked for.
        try:
            return value[name]
        except KeyError:
            return _map_property(value, name)
    if isinstance(value, Bean):
        return value.property(name)
    if isinstance(value, str | list) and name == "empty":
        return not value
    return None


def _map_property(value: dict[str, Any], name: str) -> Any:
    return not value if name == "empty" else None


def element_of(value: Any, index: Any) -> Any:
    """`$value[index]`; null beyond the end."""
    if isinstance(value, dict):
        return property_of(value, index)
    if isinstance(value, list) and isinstance(index, int) and -len(value) <= index < len(value):
        return value[index]
    return None


def call(value: Any, name: str, arguments: list[Any]) -> Any:
    """`$value.name(arguments)`; null for a method that there is not."""
    if isinstance(value, Bean):
        method = value.methods.get(name)
        return None if method is None else method(value, *arguments)
    for kind, methods in _METHODS:
        if isinstance(value, kind) and name in methods:
            return methods[name](value, *arguments)
    if value is not None and name in _ANY:
        return _ANY[name](value, *arguments)
    return None


def _substring(text: str, start: int, end: int | None = None) -> str:
    return text[start:end]


def _index_of(text: str, part: str) -> int:
    return text.find(part)


def _replacement(text: str) -> str:
    """A Java replacement (`$1`) as Python writes it (`\\1`)."""
    return re.sub(r"\$(\d)", r"\\g<\1>", text)


def _replace_all(text: str, pattern: str, new: str) -> str:
    return re.sub(pattern, _replacement(new), text)


def _replace_first(text: str, pattern: str, new: str) -> str:
    return re.sub(pattern, _replacement(new), text, count=1)


def _split(text: str, pattern: str, limit: int = 0) -> list[str]:
    parts = re.split(pattern, text, maxsplit=max(0, limit - 1))
    if limit == 0:
        while len(parts) > 1 and not parts[-1]:
            parts.pop()
    return JavaList(parts)


def _matches(text: str, pattern: str) -> bool:
    return re.fullmatch(pattern, text) is not None


def _add(items: list[Any], *arguments: Any) -> bool:
    items.insert(arguments[0] if len(arguments) > 1 else len(items), arguments[-1])
    return True


def _set(items: list[Any], index: int, value: Any) -> Any:
    before, items[index] = items[index], value
    return before


def _put(table: dict[str, Any], key: str, value: Any) -> Any:
    before = table.get(key)
    table[key] = value
    return before


def _entries(table: dict[str, Any]) -> list[Any]:
    return JavaList({"key": key, "value": value} for key, value in table.items())


_METHODS: Final[tuple[tuple[type, Mapping[str, Method]], ...]] = (
    (
        str,
        {
            "length": len,
            "isEmpty": lambda text: not text,
            "contains": lambda text, part: part in text,
            "concat": lambda text, more: text + more,
            "startsWith": lambda text, part: text.startswith(part),
            "endsWith": lambda text, part: text.endswith(part),
            "equalsIgnoreCase": lambda text, other: text.lower() == str(other).lower(),
            "indexOf": _index_of,
            "lastIndexOf": lambda text, part: text.rfind(part),
            "matches": _matches,
            "replace": lambda text, old, new: text.replace(old, new),
            "replaceAll": _replace_all,
            "replaceFirst": _replace_first,
            "split": _split,
            "substring": _substring,
            "toLowerCase": str.lower,
            "toUpperCase": str.upper,
            "trim": str.strip,
        },
    ),
    (
        list,
        {
            "size": len,
            "isEmpty": lambda items: not items,
            "get": element_of,
            "contains": lambda items, value: value in items,
            "indexOf": lambda items, value: items.index(value) if value in items else -1,
            "add": _add,
            "addAll": lambda items, more: items.extend(more) or True,
            "set": _set,
            "remove": lambda items, index: items.pop(index),
        },
    ),
    (
        dict,
        {
            "size": len,
            "isEmpty": lambda table: not table,
            "get": property_of,
            "getOrDefault": lambda table, key, other: table.get(key, other),
            "containsKey": lambda table, key: key in table,
            "containsValue": lambda table, value: value in table.values(),
            "keySet": JavaList,
            "values": lambda table: JavaList(table.values()),
            "entrySet": _entries,
            "put": _put,
            "putAll": lambda table, more: table.update(more),
            "remove": lambda table, key: table.pop(key, None),
        },
    ),
    (
        int,
        {"intValue": int, "longValue": int, "doubleValue": float},
    ),
    (
        float,
        {"intValue": int, "longValue": int, "doubleValue": float},
    ),
)
_ANY: Final[Mapping[str, Method]] = {"toString": text_of, "equals": equal}
