"""Packaging: what a template names beside itself becomes objects in a bucket."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple


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
_REMOTE: Final = ("s3://", "http://", "https://")
# Zip entries need a date; a fixed one makes the same code the same package.
_DATE: Final = (2020, 1, 1, 0, 0, 0)


def zip_folder(folder: Path) -> bytes:
    """A zip of a folder's files, the same bytes for the same content."""
    paths = sorted(folder.rglob("*"))
    kept = [path for path in paths if not path.is_dir() and "__pycache__" not in path.parts]
    return _zip(kept, folder)


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
    """The template with every local folder and file uploaded. Raises `FileNotFoundError` for one that is not there."""
    for properties, artifact in _places(template):
        local = properties.get(artifact.name)
        if not isinstance(local, str) or local.startswith(_REMOTE):
            continue
        data, suffix = _packed(base / local, f"{artifact.name} {local}", zipped=artifact.zipped)
        key = f"{hashlib.sha256(data).hexdigest()}{suffix}"
        upload(key, data)
        properties[artifact.name] = {artifact.bucket: bucket, artifact.key: key}
    return template


def _places(template: dict[str, Any]) -> Iterator[tuple[dict[str, Any], _Artifact]]:
    """Where a template may name what is beside it: in resources, and in what SAM's resources share."""
    for resource in (template.get("Resources") or {}).values():
        artifact = _ARTIFACTS.get(resource.get("Type"))
        if artifact is not None:
            yield resource.get("Properties") or {}, artifact
    for kind in ("Function", "Api"):
        shared = (template.get("Globals") or {}).get(kind) or {}
        yield shared, _ARTIFACTS[f"AWS::Serverless::{kind}"]


def local_folders(template: dict[str, Any], base: Path) -> dict[str, Path]:
    """The code folders beside a template that is not packaged yet, by their functions' logical ids."""
    shared = (template.get("Globals") or {}).get("Function") or {}
    found: dict[str, Path] = {}
    for logical_id, resource in (template.get("Resources") or {}).items():
        if resource.get("Type") not in _FUNCTIONS:
            continue
        name = _ARTIFACTS[resource["Type"]].name
        properties = resource.get("Properties") or {}
        local = properties.get(name, shared.get(name) if name == "CodeUri" else None)
        if isinstance(local, str) and (base / local).is_dir():
            found[logical_id] = base / local
    return found


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
    raise FileNotFoundError(f"{what}: there is no such {kind} beside the template")
