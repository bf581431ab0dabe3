"""Cross-origin requests to function URLs: Lambda answers preflights itself, and adds the header fields to all else."""

from collections.abc import Mapping
from typing import Any

from penstock.api import HttpRequest, HttpResponse


def preflight(cors: Mapping[str, Any], request: HttpRequest) -> HttpResponse | None:
    """The answer to a preflight; None for any other request."""
    wanted = request.headers.get("access-control-request-method")
    if request.method != "OPTIONS" or wanted is None:
        return None
    headers = cors_headers(cors, request)
    if headers and any(method in ("*", wanted) for method in cors.get("AllowMethods") or ()):
        headers.append(("access-control-allow-methods", ",".join(cors["AllowMethods"])))
        if allowed := cors.get("AllowHeaders"):
            headers.append(("access-control-allow-headers", ",".join(allowed)))
        if cors.get("MaxAge") is not None:
            headers.append(("access-control-max-age", str(cors["MaxAge"])))
    return HttpResponse(200, headers)


def cors_headers(cors: Mapping[str, Any], request: HttpRequest) -> list[tuple[str, str]]:
    """The header fields that let an origin read an answer; none for an origin that may not."""
    origin = request.headers.get("origin")
    origins = cors.get("AllowOrigins") or ()
    if origin is None or not ("*" in origins or origin in origins):
        return []
    with_credentials = bool(cors.get("AllowCredentials"))
    anybody = "*" in origins and not with_credentials
    headers = [("access-control-allow-origin", "*" if anybody else origin)]
    if not anybody:
        headers.append(("vary", "Origin"))
    if with_credentials:
        headers.append(("access-control-allow-credentials", "true"))
    if exposed := cors.get("ExposeHeaders"):
        headers.append(("access-control-expose-headers", ",".join(exposed)))
    return headers
