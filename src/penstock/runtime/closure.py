"""What the AWS SDK and Lambda's Python client consist of in an interpreter's own packages.

Run as a program by any Python from 3.9 on: prints the files and folders as a JSON list, or `null` when a package is
missing. A function then sees these and nothing else of what is installed beside them.
"""

import json
import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

ROOTS = ("boto3", "awslambdaric")
REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def closure(roots: Sequence[str] = ROOTS) -> list[str]:
    """Top-level paths of distributions and all they require. Raises PackageNotFoundError for a root that is missing."""
    found: set[str] = set()
    seen: set[str] = set()
    todo = list(roots)
    while todo:
        name = todo.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in seen:
            continue
        seen.add(key)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            if name in roots:
                raise
            continue  # a requirement of another platform
        for file in distribution.files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not top.endswith(".pth"):
                found.add(str(distribution.locate_file(top)))
        for requirement in distribution.requires or ():
            if "extra ==" not in requirement:
                todo += REQUIREMENT.findall(requirement)[:1]
    return sorted(path for path in found if Path(path).exists())


def main() -> None:
    """Print what was found."""
    try:
        print(json.dumps(closure()))
    except metadata.PackageNotFoundError:
        print("null")


if __name__ == "__main__":
    main()
