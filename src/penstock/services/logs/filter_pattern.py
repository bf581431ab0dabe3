"""CloudWatch Logs filter patterns of unstructured text: terms, `?any` of some, `-none` of some, "quoted phrases"."""

import re
from collections.abc import Callable
from typing import Final

from penstock.api import refuse
from penstock.core.errors import AwsError

_TERM: Final = re.compile(r'([?-]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)\s*')


def compile_filter(pattern: str) -> Callable[[str], bool]:
    """A test of messages. JSON, space-delimited and regular-expression patterns are refused by name."""
    text = pattern.strip()
    for mark, kind in (("{", "JSON"), ("[", "space-delimited"), ("%", "regular-expression")):
        if text.startswith(mark):
            raise refuse(f"CloudWatch Logs' {kind} filter patterns")
    required: list[str] = []
    optional: list[str] = []
    excluded: list[str] = []
    at = 0
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None:
            raise AwsError("InvalidParameterException", "Invalid filter pattern")
        sign, phrase, word = match.groups()
        term = re.sub(r"\\(.)", r"\1", phrase) if phrase is not None else word
        {"": required, "?": optional, "-": excluded}[sign].append(term)
        at = match.end()

    def test(message: str) -> bool:
        if any(term in message for term in excluded):
            return False
        # AWS: beside plain terms, those with a question mark are ignored (Logs guide, "filter pattern syntax").
        if required:
            return all(term in message for term in required)
        return not optional or any(term in message for term in optional)

    return test
