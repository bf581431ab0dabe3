"""SQL kept as source: named, commented queries in `.sql` files."""

import re
from importlib.resources import files
from typing import Final

_COMMENT: Final = re.compile(r"^--.*\n", re.MULTILINE)
_SPACE: Final = re.compile(r"\s+")
_NAMED: Final = re.compile(r"^-- name: (\w+)\n(.*?);[ \t]*$", re.MULTILINE | re.DOTALL)


def load_queries(package: str, file: str) -> dict[str, str]:
    """The queries of a file by name. A query follows `-- name: NAME` and ends with a semicolon at the end of a line.

    Comments and line breaks are left out: the driver finds a prepared statement by all of its text, each time.
    """
    named = _NAMED.findall((files(package) / file).read_text("utf-8"))
    return {name: _SPACE.sub(" ", _COMMENT.sub("", sql)).strip() for name, sql in named}


def load_migrations(package: str) -> list[tuple[int, str]]:
    """The scripts `NNNN_what.sql` of a package's `migrations` folder, in order of their numbers."""
    folder = files(package) / "migrations"
    scripts = [f for f in folder.iterdir() if f.name.endswith(".sql")]
    return sorted((int(f.name.split("_")[0]), f.read_text("utf-8")) for f in scripts)
