"""`penstock deploy --watch`: what is saved beside a template is deployed.

What a function's folder holds goes to the function at once. Everything else that a template names, and the template
itself, is deployed as the stack is. A mistake is told, and the next change is waited for.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import click

from penstock.cli.client import EndpointConnectionError, make_client
from penstock.cli.deploy import BUCKET, functions_of
from penstock.cli.explain import EXPECTED, explanation
from penstock.cli.package import named_paths, read_template, zip_folder
from penstock.core.errors import PenstockError

_POLL_S: Final = 0.1
# A large folder takes long to look through: at most this part of the time goes into looking.
_SHARE: Final = 0.2

Snapshot: TypeAlias = dict[Path, tuple[int, int]]


def snapshot(paths: Iterable[Path]) -> Snapshot:
    """When each file was changed last, and its size."""
    found: Snapshot = {}
    for top in paths:
        for path in [top, *_files(top)]:
            try:
                status = path.stat()
                if path.is_file():
                    found[path] = (status.st_mtime_ns, status.st_size)
            except OSError:
                continue  # an editor's temporary file, or what nobody may read
    return found


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (Path(parent, name) for name in names)


def watch_stack(template: Path, stack: str, endpoint: str, deploy: Callable[[], None]) -> None:
    """Deploy a template now and whenever it, or what it names, has changed. Returns never; Ctrl+C ends it."""
    watched = {template}
    reached = False
    while True:
        watched = _watched(template) or watched
        # Taken before: what is saved during a deployment is deployed next.
        before = {path: snapshot([path]) for path in watched}
        try:
            deploy()
            reached = True
            functions = functions_of(template, stack, endpoint)
            count = f"{len(functions)} function{'' if len(functions) == 1 else 's'}"
            click.echo(f"Watching {template} and what it names, {count}; Ctrl+C ends it.")
            Watch(functions, before, endpoint).run()
        except EXPECTED as error:
            if isinstance(error, EndpointConnectionError) and not reached:
                raise
            click.echo(f"penstock: {explanation(error, endpoint)}", err=True)
            click.echo(f"Still watching {template}: what is saved is deployed.")
            _await_change(before)


def _watched(template: Path) -> set[Path]:
    """A template and what it names; nothing while the template cannot be read."""
    try:
        return {template, *named_paths(read_template(template), template.parent)}
    except PenstockError:
        return set()


def _await_change(before: Mapping[Path, Snapshot]) -> None:
    while all(snapshot([path]) == known for path, known in before.items()):
        time.sleep(_POLL_S)
    _settle(before)


def _settle(paths: Iterable[Path]) -> None:
    """Wait until whoever writes has written: files that are half there would be deployed as they are."""
    now = snapshot(paths)
    while True:
        time.sleep(_POLL_S)
        before, now = now, snapshot(paths)
        if before == now:
            return


class Watch:
    """What a template names, as it was; functions by name with their code folders, as `functions_of` finds them."""

    def __init__(
        self,
        functions: Mapping[str, Path],
        before: Mapping[Path, Snapshot],
        endpoint: str,
    ) -> None:
        self._functions = functions
        self._s3: Any = make_client("s3", endpoint)
        self._lambda: Any = make_client("lambda", endpoint)
        self._known = dict(before)

    def run(self) -> None:
        """Update the code of functions as their folders change; return when anything else has changed."""
        while True:
            began = time.perf_counter()
            if self.look():
                _settle(self._known)
                return
            took = time.perf_counter() - began
            time.sleep(max(_POLL_S, took / _SHARE))

    def look(self) -> bool:
        """Update the functions whose folders have changed since the last look. Whether the stack is to be deployed."""
        stack = False
        for path, before in list(self._known.items()):
            now = snapshot([path])
            if now == before:
                continue
            self._known[path] = now
            # A folder that is gone is told as a deployment tells it.
            if path in self._functions.values() and now:
                self._update(path)
            else:
                stack = True
        return stack

    def _update(self, folder: Path) -> None:
        data = zip_folder(folder)
        key = f"{hashlib.sha256(data).hexdigest()}.zip"
        self._s3.put_object(Bucket=BUCKET, Key=key, Body=data)
        for name, code in self._functions.items():
            if code == folder:
                self._lambda.update_function_code(FunctionName=name, S3Bucket=BUCKET, S3Key=key)
                click.echo(f"{name} runs what is in {folder} now")
