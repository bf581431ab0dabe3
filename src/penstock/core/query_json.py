"""Answers of the query protocol as JSON: what AWS's query services give to who accepts `application/json`."""

from typing import Any
from xml.etree.ElementTree import Element, ParseError, fromstring

import orjson


def json_of(xml: str) -> str:
    """The JSON of an XML answer; text that is no XML is left as it is."""
    try:
        root = fromstring(xml)
    except ParseError:
        return xml
    document, name = _plain(root), _tag(root)
    return orjson.dumps(document if name == "ErrorResponse" else {name: document}).decode()


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _plain(element: Element) -> Any:
    """An element as JSON: text, an object of its children, or the list of its members."""
    children = list(element)
    if not children:
        return element.text
    tags = [_tag(child) for child in children]
    if set(tags) == {"member"}:
        return [_plain(child) for child in children]
    # AWS: SQS's messages come as the list `messages` (observed in its JSON answers).
    if _tag(element) == "ReceiveMessageResult":
        return {"messages": [_plain(child) for child in children]}
    table: dict[str, Any] = {}
    for tag, child in zip(tags, children, strict=True):
        value = _plain(child)
        if tags.count(tag) > 1:
            table.setdefault(tag, []).append(value)
        else:
            table[tag] = value
    return table
