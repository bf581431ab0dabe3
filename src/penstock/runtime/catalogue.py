"""Lambda's runtimes as data: which there are, which AWS has retired, and which are run here."""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Family: TypeAlias = Literal["python", "nodejs", "provided"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """One runtime that functions can be run with."""

    identifier: str
    """As in `FunctionConfiguration`: `python3.12`."""
    family: Family
    version: str
    """Of the language (`3.12`, `20`), or of the operating system (`al2023`)."""
    label: str
    """How a person names what has to be installed."""

    def version_of(self, release: str, region: str) -> tuple[str, str]:
        """The runtime's version, and its ARN. `release` is what the interpreter says after its version."""
        # AWS: recorded as "python:3.10.v11" and an ARN of 64 hexadecimal digits. Here `v` is the interpreter's own.
        name = f"{self.family}:{self.version}.v{release or '0'}"
        digest = hashlib.sha256(name.encode()).hexdigest()
        return name, f"arn:aws:lambda:{region}::runtime:{digest}"


def _rows() -> dict[str, Runtime]:
    rows = [
        Runtime(f"python{version}", "python", version, f"Python {version}")
        for version in ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
    ]
    rows += [
        Runtime(f"nodejs{version}.x", "nodejs", version, f"Node.js {version}")
        for version in ("18", "20", "22", "24")
    ]
    rows += [
        Runtime(f"provided.{version}", "provided", version, "an executable named bootstrap")
        for version in ("al2", "al2023")
    ]
    return {row.identifier: row for row in rows}


RUNTIMES: Final = _rows()
# AWS: the enum of late 2025, in the order in which an error prints it.
IDENTIFIERS: Final = (
    "nodejs20.x, python3.14, provided.al2023, python3.12, python3.13, nodejs24.x, nodejs22.x, java25, python3.10, "
    "python3.11, java21, ruby3.3, ruby3.4, ruby3.2, python3.8, python3.9, java17, nodejs16.x, dotnet10, dotnet8, "
    "java11, dotnet6, nodejs18.x, provided.al2, java8.al2"
)
# AWS: in the enum, but no function can be created or updated with them any more (Lambda guide, "deprecated runtimes").
DEPRECATED: Final = frozenset(["python3.8", "nodejs16.x", "dotnet6"])
