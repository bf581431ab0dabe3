"""How the command line reaches a running Penstock: boto3, as any user would, and Penstock's own endpoints."""

import json
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.error import URLError

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, EndpointConnectionError

__all__ = ["ClientError", "EndpointConnectionError", "NotPenstock", "ask", "make_client", "region"]


class NotPenstock(OSError):
    """Something answers at an endpoint, but not as Penstock does."""


def make_client(service: str, endpoint: str) -> Any:
    """A client for `endpoint` with the user's credentials, or with any at all where there are none."""
    session = boto3.Session()
    given: dict[str, str] = {}
    if session.get_credentials() is None:
        given = {"aws_access_key_id": "penstock", "aws_secret_access_key": "penstock"}
    client = session.client(
        service,
        endpoint_url=endpoint,
        region_name=region(),
        config=Config(retries={"max_attempts": 2}, s3={"addressing_style": "path"}),
        **given,
    )
    client.meta.events.register("before-parse", _require_penstock)
    return client


def _require_penstock(response_dict: dict[str, Any], **_: Any) -> None:
    """Raise `NotPenstock` for an answer without a request id, which every AWS API tells."""
    headers = response_dict["headers"]
    if not ("x-amzn-requestid" in headers or "x-amz-request-id" in headers):
        raise NotPenstock(f"HTTP {response_dict['status_code']}, without a request id")


def region() -> str:
    """The region that the user works in."""
    return boto3.Session().region_name or "us-east-1"


def ask(endpoint: str, method: str, path: str) -> Any:
    """The JSON answer of one of Penstock's own endpoints. Raises `OSError` when there is none."""
    credentials = boto3.Session().get_credentials() or Credentials("penstock", "penstock")
    signed = AWSRequest(method=method, url=f"{endpoint}{path}")
    SigV4Auth(credentials, "penstock", region()).add_auth(signed)
    request = urllib.request.Request(
        signed.url, method=method, headers=dict(signed.headers.items())
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except URLError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        raise NotPenstock(str(error)) from error
