"""Splits an expression into tokens and walks over them."""

import re
from typing import Final, NamedTuple

from penstock.core.dynamo_value import invalid
from penstock.core.errors import AwsError

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<ref>#[A-Za-z0-9_]+)|(?P<value>:[A-Za-z0-9_]+)"
    r"|(?P<index>[0-9]+)|(?P<mark><>|<=|>=|[=<>()\[\],.+-])|(?P<end>$)|(?P<other>\S))"
)
# AWS: an expression has at most 4 KB (DynamoDB quotas).
_MAX_BYTES: Final = 4096


class Token(NamedTuple):
    """A piece of the text; `kind` is `name`, `ref`, `value`, `index`, `mark`, `end` or `other`."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def word(self) -> str:
        """The keyword that this may be; the empty string for what is no name."""
        return self.text.upper() if self.kind == "name" else ""


class Tokens:
    """The tokens of an expression and the place of the next one."""

    def __init__(self, text: str, kind: str) -> None:
        self._text = text
        self._kind = kind
        self.position = 0
        size = len(text.encode())
        if not text.strip():
            raise self.error("The expression can not be empty;")
        if size > _MAX_BYTES:
            raise self.error(
                f"Expression size has exceeded the maximum allowed size; expression size: {size}"
            )
        self._tokens = [
            Token(
                str(match.lastgroup),
                match[match.lastgroup or 0],
                match.start(match.lastgroup or 0),
                match.end(),
            )
            for match in _TOKEN.finditer(text)
        ]

    def error(self, detail: str) -> AwsError:
        """`Invalid <X>Expression: <detail>`."""
        return invalid(f"Invalid {self._kind}: {detail}")

    def syntax_error(self) -> AwsError:
        """The error for a next token that cannot be there; tells its neighbours."""
        token = self.peek
        before = self._tokens[max(0, self.position - 1)]
        after = self._tokens[min(len(self._tokens) - 1, self.position + 1)]
        near = self._text[before.start : after.end].strip()
        text = "<EOF>" if token.kind == "end" else token.text
        return self.error(f'Syntax error; token: "{text}", near: "{near}"')

    @property
    def peek(self) -> Token:
        """The next token."""
        return self._tokens[self.position]

    @property
    def second(self) -> Token:
        """The token after the next one."""
        return self._tokens[min(self.position + 1, len(self._tokens) - 1)]

    def take(self) -> Token:
        """The next token, passed over."""
        token = self._tokens[self.position]
        if token.kind != "end":
            self.position += 1
        return token

    def accept(self, mark: str) -> bool:
        """Pass over a mark or keyword if it is next."""
        token = self.peek
        if (token.kind == "mark" and token.text == mark) or token.word == mark:
            self.position += 1
            return True
        return False

    def expect(self, mark: str) -> None:
        """Pass over a mark or keyword that must be next."""
        if not self.accept(mark):
            raise self.syntax_error()

    def finish(self) -> None:
        """Make sure that nothing is left."""
        if self.peek.kind != "end":
            raise self.syntax_error()
