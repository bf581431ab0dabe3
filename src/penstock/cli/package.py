"""Packaging: local code folders of a template become objects in a bucket."""

import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

# Where a resource type names its code: the property, and how it points to a bucket.
_CODE: Final = {
    "AWS::Serverless::Function": ("CodeUri", "Bucket", "Key"),
    "AWS::Lambda::Function": ("Code", "S3Bucket", "S3Key"),
}
# Zip entries need a date; a fixed one makes the same code the same package.
_DATE: Final = (2020, 1, 1, 0, 0, 0)


def zip_folder(folder: Path) -> bytes:
    """A zip of a folder's files, the same bytes for the same content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_dir() or "__pycache__" in path.parts:
                continue
            entry = zipfile.ZipInfo(str(path.relative_to(folder)), _DATE)
            entry.external_attr = (path.stat().st_mode & 0xFFFF) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def package(
    template: dict[str, Any], base: Path, bucket: str, upload: Callable[[str, bytes], None]
) -> dict[str, Any]:
    """The template with every local code folder uploaded. Raises `FileNotFoundError` for one that is not there."""
    places = [
        (resource.get("Properties", {}), _CODE[resource["Type"]])
        for resource in template.get("Resources", {}).values()
        if resource.get("Type") in _CODE
    ]
    shared = (template.get("Globals") or {}).get("Function") or {}
    places.append((shared, _CODE["AWS::Serverless::Function"]))
    for properties, (name, bucket_member, key_member) in places:
        local = properties.get(name)
        if not isinstance(local, str) or local.startswith("s3://"):
            continue
        data = _packed(base / local, f"{name} {local}")
        key = f"{hashlib.sha256(data).hexdigest()}.zip"
        upload(key, data)
        properties[name] = {bucket_member: bucket, key_member: key}
    return template


def local_folders(template: dict[str, Any], base: Path) -> dict[str, Path]:
    """The code folders beside a template that is not packaged yet, by their functions' logical ids."""
    shared = (template.get("Globals") or {}).get("Function") or {}
    found: dict[str, Path] = {}
    for logical_id, resource in template.get("Resources", {}).items():
        if resource.get("Type") not in _CODE:
            continue
        name = _CODE[resource["Type"]][0]
        properties = resource.get("Properties") or {}
        local = properties.get(name, shared.get(name) if name == "CodeUri" else None)
        if isinstance(local, str) and (base / local).is_dir():
            found[logical_id] = base / local
    return found


def _packed(path: Path, what: str) -> bytes:
    if path.is_dir():
        return zip_folder(path)
    if path.suffix == ".zip" and path.is_file():
        return path.read_bytes()
    raise FileNotFoundError(f"{what}: there is no such folder or zip beside the template")
