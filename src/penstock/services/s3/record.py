"""How the document of an object is kept: a line of JSON, and behind it the bytes of a very small object, its `data`. Pure."""

from typing import Any, Final

import orjson

Document = dict[str, Any]

# JSON has no line breaks of its own, so the first one ends it.
_END: Final = b"\n"


def dump(document: Document) -> bytes:
    """A document as it is kept."""
    text = orjson.dumps(document, default=_behind)
    data = document.get("data")
    return text if data is None else b"%b%b%b" % (text, _END, data)


def load(kept: bytes) -> Document:
    """The document that was kept."""
    end = kept.find(_END)
    if end < 0:
        document: Document = orjson.loads(kept)
        return document
    document = orjson.loads(kept[:end])
    document["data"] = kept[end + 1 :]
    return document


def _behind(value: Any) -> None:
    """What the JSON has instead of `data`: null, for the bytes follow it. Raises TypeError for anything else than bytes."""
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value)} is no JSON")
