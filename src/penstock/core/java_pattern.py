"""Java's regular expressions, as models and templates write them, in Python's dialect."""

import re
import unicodedata
import warnings
from functools import cached_property
from typing import Final

_SURROGATES: Final = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_TOKEN: Final = re.compile(r"\\p\{(\w+)\}|\\.|.", re.DOTALL)
_CLASS: Final = re.compile(r"\\p\{(\w+)\}")
_POSIX: Final = {
    "Alnum": "a-zA-Z0-9",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Graph": r"\x21-\x7e",
    "ASCII": r"\x00-\x7f",
    "Print": r"\x20-\x7e",
}
_CATEGORIES: Final = (
    "Cc", "Cf", "Cn", "Co", "Cs", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl",
    "No", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl", "Zp", "Zs",
)  # fmt: skip
_FIRST: Final = 0xE000
"""Private code points stand in for the characters beyond ASCII, one for each category: written out, those are 140,000."""


class Pattern:
    """One regular expression, compiled when it is first needed."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._by_category = any(name not in _POSIX for name in _CLASS.findall(source))

    @cached_property
    def compiled(self) -> re.Pattern[str] | None:
        """None when Python cannot express it."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                return re.compile(_translated(self.source), re.ASCII)
        except (re.error, Warning, RecursionError, OverflowError):
            return None

    def fits(self, text: str) -> bool:
        """Whether the whole of `text` matches, as Java's `matches` wants it. Everything fits what Python cannot express."""
        if self._by_category and not text.isascii():
            text = "".join(map(_stand_in, text))
        return self.compiled is None or self.compiled.fullmatch(text) is not None


def _translated(source: str) -> str:
    out = []
    inside = False
    before = ""
    for match in _TOKEN.finditer(_SURROGATES.sub(_code_point, source)):
        token = match[0]
        if match[1]:
            members = _POSIX.get(match[1]) or _members(match[1])
            token = members if inside else f"[{members}]"
        elif inside and token == "-" and before in (r"\w", r"\d", r"\s"):
            token = r"\-"  # Java does not take it for a range
        elif token in "[]":
            inside = token == "["
        out.append(token)
        before = token
    return "".join(out)


def _members(category: str) -> str:
    """What belongs to a category or a family of them, as the content of a class."""
    plain = (chr(code) for code in range(128))
    found = [re.escape(each) for each in plain if unicodedata.category(each).startswith(category)]
    found += [_sign(each) for each in _CATEGORIES if each.startswith(category)]
    return "".join(found)


def _sign(category: str) -> str:
    return chr(_FIRST + _CATEGORIES.index(category))


def _stand_in(character: str) -> str:
    return character if character.isascii() else _sign(unicodedata.category(character))


def _code_point(match: re.Match[str]) -> str:
    high, low = int(match[1], 16), int(match[2], 16)
    return f"\\U{0x10000 + (high - 0xD800 << 10) + low - 0xDC00:08x}"
