"""Packaging: what a template names beside itself becomes objects in a bucket."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from penstock.core.errors import PenstockError
from penstock.core.template.parse import parse_template


class _Artifact(NamedTuple):
    """The property that names a local folder or file, and how it points to a bucket."""

    name: str
    bucket: str
    key: str
    zipped: bool = True


# What `aws cloudformation package` takes, of the types that are here.
_ARTIFACTS: Final = {
    "AWS::Serverless::Function": _Artifact("CodeUri", "Bucket", "Key"),
    "AWS::Serverless::LayerVersion": _Artifact("ContentUri", "Bucket", "Key"),
    "AWS::Serverless::Api": _Artifact("DefinitionUri", "Bucket", "Key", zipped=False),
    "AWS::Lambda::Function": _Artifact("Code", "S3Bucket", "S3Key"),
    "AWS::Lambda::LayerVersion": _Artifact("Content", "S3Bucket", "S3Key"),
    "AWS::ApiGateway::RestApi": _Artifact("BodyS3Location", "Bucket", "Key", zipped=False),
}
_FUNCTIONS: Final = ("AWS::Serverless::Function", "AWS::Lambda::Function")
_CODE: Final = [_ARTIFACTS[name] for name in _FUNCTIONS]
_REMOTE: Final = ("s3://", "http://", "https://")
# Zip entries need a date; a fixed one makes the same code the same package.
_DATE: Final = (2020, 1, 1, 0, 0, 0)


class PackageError(PenstockError):
    """A template, or what it names beside itself, cannot be read; the message says which."""


def read_template(path: Path) -> dict[str, Any]:
    """The template in a file, as far as it is well formed. Raises `PenstockError`."""
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise PackageError(f"the template {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PackageError(
            f"the template {path} is not UTF-8: byte {error.start + 1} is 0x{error.object[error.start]:02x}"
        ) from error
    return parse_template(text)


def zip_folder(folder: Path) -> bytes:
    """A zip of a folder's files, the same bytes for the same content."""
    paths = sorted(folder.rglob("*"))
    kept = [path for path in paths if _kept(path)]
    return _zip(kept, folder)


def _kept(path: Path) -> bool:
    """Whether it is a file, or a link to one that is missing, which is told; sockets and pipes have no content."""
    return "__pycache__" not in path.parts and (
        path.is_file() or (path.is_symlink() and not path.exists())
    )


def _zip(paths: list[Path], base: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            entry = zipfile.ZipInfo(str(path.relative_to(base)), _DATE)
            entry.external_attr = (path.stat().st_mode & 0xFFFF) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def package(
    template: dict[str, Any], base: Path, bucket: str, upload: Callable[[str, bytes], None]
) -> dict[str, Any]:
    """The template with every local folder and file uploaded. Raises `PackageError` for what cannot be read.

    What is malformed stays as it is: CloudFormation says what is wrong with it.
    """
    for properties, artifact, local in _places(template):
        what = f"{artifact.name} {local}"
        try:
            data, suffix = _packed(base / local, what, zipped=artifact.zipped)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PackageError(f"{what} cannot be read: {reason}") from error
        key = f"{hashlib.sha256(data).hexdigest()}{suffix}"
        upload(key, data)
        properties[artifact.name] = {artifact.bucket: bucket, artifact.key: key}
    return template


def _places(template: dict[str, Any]) -> Iterator[tuple[dict[str, Any], _Artifact, str]]:
    """Where a template names what is beside it: in resources, and in what SAM's resources share."""
    for properties, kind in _holders(template):
        artifact = _ARTIFACTS[kind]
        local = properties.get(artifact.name)
        if isinstance(local, str) and not local.startswith(_REMOTE):
            yield properties, artifact, local


def _holders(template: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """The properties of each resource that may name something, with its type."""
    for resource in _resources(_members(template, "Resources")):
        kind = _type(resource)
        if kind in _ARTIFACTS:
            yield _members(resource, "Properties"), kind
    for name in ("Function", "Api"):
        yield _members(_members(template, "Globals"), name), f"AWS::Serverless::{name}"


def _resources(section: dict[str, Any]) -> Iterator[Any]:
    """The resources of a section, those that a loop makes included."""
    for name, member in section.items():
        if not _is_loop(name):
            yield member
        elif isinstance(member, list):
            for body in member[2:3]:
                yield from _resources(body) if isinstance(body, dict) else ()


def _is_loop(name: str) -> bool:
    return name.startswith("Fn::ForEach::")


def _members(node: Any, name: str) -> dict[str, Any]:
    """What an object has under a name, if that is an object."""
    found = node.get(name) if isinstance(node, dict) else None
    return found if isinstance(found, dict) else {}


def _type(resource: Any) -> str:
    found = resource.get("Type") if isinstance(resource, dict) else None
    return found if isinstance(found, str) else ""


def named_paths(template: dict[str, Any], base: Path) -> set[Path]:
    """The folders and files that a template names beside itself, be they there or not."""
    return {base / local for _, _, local in _places(template)}


def local_folders(template: dict[str, Any], base: Path) -> dict[str, Path]:
    """The folders beside a template that are code of functions and nothing else, by the functions' logical ids.

    What functions of loops share is not among them: their logical ids are CloudFormation's to write.
    """
    shared = _members(_members(template, "Globals"), "Function")
    others = {base / local for _, artifact, local in _places(template) if artifact not in _CODE}
    loops = {name: one for name, one in _members(template, "Resources").items() if _is_loop(name)}
    others |= {
        base / local for one in _resources(loops) if (local := _code(one, shared)) is not None
    }
    found: dict[str, Path] = {}
    for logical_id, resource in _members(template, "Resources").items():
        local = _code(resource, shared)
        if local is not None and base / local not in others and _is_folder(base / local):
            found[logical_id] = base / local
    return found


def _code(resource: Any, shared: dict[str, Any]) -> str | None:
    """Where a function says that its code is; None of what is no function, or has its code elsewhere."""
    kind = _type(resource)
    if kind not in _FUNCTIONS:
        return None
    name = _ARTIFACTS[kind].name
    default = shared.get(name) if kind == "AWS::Serverless::Function" else None
    local = _members(resource, "Properties").get(name, default)
    return local if isinstance(local, str) else None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # a name too long for this machine


def _packed(path: Path, what: str, *, zipped: bool) -> tuple[bytes, str]:
    """The bytes to upload, and how the name of their object ends."""
    if zipped and path.is_dir():
        return zip_folder(path), ".zip"
    if zipped and path.is_file():
        return (
            path.read_bytes() if zipfile.is_zipfile(path) else _zip([path], path.parent)
        ), ".zip"
    if path.is_file():
        return path.read_bytes(), path.suffix
    kind = "folder or file" if zipped else "file"
    raise PackageError(f"{what}: there is no such {kind} beside the template")
