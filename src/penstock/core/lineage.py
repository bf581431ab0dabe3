"""The X-Ray trace header, and how often a chain of requests has passed through a function.

`Root=1-...;Parent=...;Sampled=0;Lineage=HASH:COUNT|HASH:COUNT`: each function adds itself to the header that it hands
on, so that a chain which comes back to it can be told from one that does not.
"""

import zlib
from typing import Final

from penstock.core.ids import Ids

# AWS: a function is stopped when it would be invoked about sixteen times in one chain (Lambda guide, "recursive loop
# detection").
MOST_PASSES: Final = 16
# AWS: the shape of a lineage, several functions of eight digits each, is X-Ray's ("tracing header" in its guide).
_FIELD: Final = "Lineage="
_KEPT: Final = 32


def new_trace(ids: Ids, now: int) -> str:
    """The header of a chain that begins at `now` (ms)."""
    return f"Root=1-{now // 1000:08x}-{ids.hex(24)};Parent={ids.hex(16)};Sampled=0"


def passes(trace: str | None, function_arn: str) -> int:
    """How often the chain of `trace` has passed through a function."""
    if trace is None or _FIELD not in trace:
        return 0
    return _counts(trace).get(_mark(function_arn), 0)


def passed(trace: str, function_arn: str) -> str:
    """The header that a function hands on: `trace` with one pass more."""
    mark = _mark(function_arn)
    if _FIELD not in trace:
        return f"{trace};{_FIELD}{mark}:1"
    counts = _counts(trace)
    counts[mark] = counts.pop(mark, 0) + 1
    lineage = "|".join(f"{one}:{count}" for one, count in list(counts.items())[-_KEPT:])
    rest = [part for part in trace.split(";") if not part.startswith(_FIELD)]
    return ";".join([*rest, _FIELD + lineage])


def _counts(trace: str) -> dict[str, int]:
    """Passes by function; what is no lineage counts for nothing."""
    found: dict[str, int] = {}
    for part in trace.split(";"):
        if part.startswith(_FIELD):
            for entry in part.removeprefix(_FIELD).split("|"):
                # A newer form has the depth of the chain in front.
                mark, _, count = entry.rpartition(":")
                if count.isascii() and count.isdigit():
                    found[mark.rpartition(":")[2]] = int(count)
    return found


def _mark(function_arn: str) -> str:
    """Eight hexadecimal digits that stand for a function."""
    return f"{zlib.crc32(function_arn.encode()):08x}"
