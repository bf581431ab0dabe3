"""`penstock deploy --watch`: what is saved in a code folder is what the next invocation runs."""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from penstock.cli.client import make_client
from penstock.cli.deploy import BUCKET
from penstock.cli.package import zip_folder

_POLL_S: Final = 0.1
# A large folder takes long to look through: at most this part of the time goes into looking.
_SHARE: Final = 0.2

Snapshot: TypeAlias = dict[Path, tuple[int, int]]


def snapshot(paths: Iterable[Path]) -> Snapshot:
    """When each file was changed last, and its size."""
    found: Snapshot = {}
    for top in paths:
        for path in [top] if top.is_file() else top.rglob("*"):
            if "__pycache__" in path.parts:
                continue
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # an editor's temporary file
            if path.is_file():
                found[path] = (status.st_mtime_ns, status.st_size)
    return found


class Watch:
    """Functions by name with their code folders, as `functions_of` finds them."""

    def __init__(
        self, functions: Mapping[str, Path], endpoint: str, show: Callable[[str], None]
    ) -> None:
        self._functions = functions
        self._show = show
        self._s3: Any = make_client("s3", endpoint)
        self._lambda: Any = make_client("lambda", endpoint)
        self._known = {folder: snapshot([folder]) for folder in set(functions.values())}

    def run(self, template: Path) -> None:
        """Update the code of functions as their folders change; return when the template itself has changed."""
        known = snapshot([template])
        while snapshot([template]) == known:
            began = time.perf_counter()
            self.look()
            took = time.perf_counter() - began
            time.sleep(max(_POLL_S, took / _SHARE))

    def look(self) -> None:
        """Update the functions whose folders have changed since the last look."""
        for folder, before in list(self._known.items()):
            now = snapshot([folder])
            if now != before:
                self._known[folder] = now
                self._update(folder)

    def _update(self, folder: Path) -> None:
        data = zip_folder(folder)
        key = f"{hashlib.sha256(data).hexdigest()}.zip"
        self._s3.put_object(Bucket=BUCKET, Key=key, Body=data)
        for name, code in self._functions.items():
            if code == folder:
                self._lambda.update_function_code(FunctionName=name, S3Bucket=BUCKET, S3Key=key)
                self._show(f"{name} runs what is in {folder} now")
