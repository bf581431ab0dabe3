"""Templates that write forms whose fields are known before there is anything to write.

`Action=SendMessage&MessageBody=$util.urlEncode($input.body)` has two fields whatever comes: its values can be handed over as they
are, and need neither be encoded nor, by whoever reads the form, be found and decoded again.
"""

import re
from collections.abc import Iterable, Sequence
from string import ascii_letters, digits
from typing import Final, Self
from urllib.parse import unquote_to_bytes

from penstock.core.velocity import FAULTS, Piece, Scope, TemplateError

# What Java's URLEncoder leaves as it is.
_KEPT: Final = (ascii_letters + digits + ".-*_").encode()
_PERCENT, _SPACE = b"% "
_CODES: Final = [(bytes((code,)), b"%%%02X" % code) for code in range(256)]
_MARKS: Final = "&%+"
_BROKEN: Final = re.compile("%(?![0-9A-Fa-f]{2})")
_Part = str | int
"""Text, or the place of a reference among all."""


def url_encode(text: str) -> str:
    """Encode as Java's URLEncoder does: letters, digits and `.-*_` stay, a space becomes a plus."""
    raw = text.encode(errors="replace")
    special = set(raw.translate(None, _KEPT))
    # The percent sign comes first, and the plus before the space that becomes one.
    if _PERCENT in special:
        raw = raw.replace(b"%", b"%25")
    for code in special:
        if code not in (_PERCENT, _SPACE):
            raw = raw.replace(*_CODES[code])
    return raw.replace(b" ", b"+").decode()


class FormTemplate:
    """The fields of a form by name, and where their values come from."""

    __slots__ = (
        "_constant",
        "_mixed",
        "_pieces",
        "_raw",
        "_references",
        "_single",
        "blank",
        "fixed",
        "names",
    )

    def __init__(
        self, pieces: Sequence[str | Piece], fields: Sequence[tuple[str, Sequence[_Part]]]
    ) -> None:
        self._pieces = pieces
        references = [piece for piece in pieces if isinstance(piece, Piece)]
        self._references = [piece.value for piece in references]
        self._raw = [at for at, piece in enumerate(references) if not piece.encoded]
        """Those that a template writes as they are, so that they may have marks of the form."""
        self.names = [name for name, _ in fields]
        """In the order in which the form has them."""
        self.blank = "".join(piece for piece in pieces if isinstance(piece, str))
        """The form with nothing where there are references."""
        self.fixed: set[str] = set()
        """The names of the fields whose values have no references."""
        self._constant = [""] * len(fields)
        """The values as far as they have no references."""
        self._single: list[tuple[int, int]] = []
        """The places of the values that are one reference, and of that."""
        self._mixed: list[tuple[int, Sequence[_Part]]] = []
        """The places of all other values, and their parts."""
        for at, (name, parts) in enumerate(fields):
            if all(isinstance(part, str) for part in parts):
                self.fixed.add(name)
                self._constant[at] = "".join(map(str, parts))
            elif len(parts) == 1 and isinstance(parts[0], int):
                self._single.append((at, parts[0]))
            else:
                self._mixed.append((at, parts))

    @classmethod
    def of(cls, pieces: Sequence[str | Piece] | None) -> Self | None:
        """The fields of a template's pieces; None where there are none, or where the text does not tell the fields."""
        if pieces is None:
            return None
        try:
            fields = _fields(pieces)
            names = [str(_decoded(name)) for name, _ in fields]
            values = [[_decoded(part) for part in parts] for _, parts in fields]
        except ValueError:
            return None
        if len(set(names)) < len(names):
            return None
        return cls(pieces, list(zip(names, values, strict=True)))

    def render(self, scope: Scope) -> list[str] | str:
        """The values of the fields; or the form as text, where a value might be taken for more than a value.

        Raises as `Template.render` does.
        """
        try:
            texts = [value(scope) for value in self._references]
        except FAULTS as error:
            raise TemplateError(str(error)) from error
        for at in self._raw:
            if not texts[at].isascii() or any([mark in texts[at] for mark in _MARKS]):
                return self._written(texts)
        values = self._constant.copy()
        for at, reference in self._single:
            text = texts[reference]
            values[at] = text if text.isascii() else _replaced(text)
        for at, parts in self._mixed:
            values[at] = _replaced(
                "".join([part if isinstance(part, str) else texts[part] for part in parts])
            )
        return values

    def _written(self, texts: Iterable[str]) -> str:
        out = []
        following = iter(texts)
        for piece in self._pieces:
            if isinstance(piece, str):
                out.append(piece)
            else:
                text = next(following)
                out.append(url_encode(text) if piece.encoded else text)
        return "".join(out)


def _fields(pieces: Iterable[str | Piece]) -> list[tuple[str, list[_Part]]]:
    """The fields as the form has them. Raises ValueError for a reference elsewhere than in a value."""
    fields: list[tuple[str, list[_Part]]] = [("", [])]
    references = 0
    for piece in pieces:
        if isinstance(piece, Piece):
            fields[-1][1].append(references)
            references += 1
            continue
        first, *others = piece.split("&")
        if len(fields) > 1:
            fields[-1][1].append(first)
        else:
            others = [first, *others]
        for text in others:
            name, found, value = text.partition("=")
            if not (name and found):
                raise ValueError(text)
            fields.append((name, [value]))
    if fields.pop(0)[1]:
        raise ValueError(pieces)
    return [(name, [part for part in parts if part != ""]) for name, parts in fields]


def _replaced(text: str) -> str:
    """What is left of text that has gone through UTF-8."""
    return text.encode(errors="replace").decode()


def _decoded(part: _Part) -> _Part:
    """A part of a form without its encoding. Raises ValueError for what cannot be decoded by itself."""
    if isinstance(part, int):
        return part
    if _BROKEN.search(part):
        raise ValueError(part)
    return unquote_to_bytes(part.replace("+", " ")).decode()
