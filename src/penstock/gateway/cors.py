"""What browsers of other origins are told about S3: answers to preflights, and header fields on answers."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol
from urllib.parse import unquote

from penstock.api import Answering, HttpRequest, HttpResponse
from penstock.core.errors import AwsError
from penstock.gateway.server import Door
from penstock.wire.body import bucket_path, host_bucket
from penstock.wire.rest_write import s3_ids

Told = Awaitable[list[tuple[str, str]]]

_ASKED: Final = ("origin", "access-control-request-method", "access-control-request-headers")


class Rules(Protocol):
    """What buckets allow."""

    def known(self, bucket: str) -> Awaitable[bool]:
        """Whether there is such a bucket."""
        ...

    def preflight(self, bucket: str, key: str, fields: Mapping[str, str]) -> Told:
        """The fields of the answer to an OPTIONS request. Raises `AwsError`."""
        ...

    def headers(self, bucket: str, method: str, fields: Mapping[str, str]) -> Told:
        """The fields to add to the answer to any other request."""
        ...


class CorsDoors:
    """Makes doors that add what a bucket's rules say. Requests without an `Origin` pay one look."""

    def __init__(
        self,
        rules: Rules,
        error: Callable[[AwsError, str], HttpResponse],
        new_id: Callable[[], str],
        last: Door,
    ) -> None:
        """`last` answers what is for no bucket."""
        self._last = last
        self._rules = rules
        self._error = error
        self._new_id = new_id

    def preflight(self, request: HttpRequest) -> Answering | None:
        """The door for OPTIONS of S3's hosts, and of paths that begin with a bucket that is there."""
        if request.method != "OPTIONS":
            return None
        bucket, key = _place(request)
        return self._preflight(request, bucket, key) if bucket else None

    def around(self, door: Door) -> Door:
        """The same door, with header fields on what S3 answers."""

        def open_door(request: HttpRequest) -> Answering | None:
            answer = door(request)
            if answer is None or request.headers.get("origin") is None:
                return answer
            bucket, _ = _place(request)
            if not bucket:
                return answer
            # Whoever asks only whether the door takes a request closes what it gets, and that shall be all there is.
            answer.close()
            return self._with_fields(request, bucket, door)

        return open_door

    async def _preflight(self, request: HttpRequest, bucket: str, key: str) -> HttpResponse:
        hosted = host_bucket(request.headers.get("host") or "") is not None
        if not hosted and not await self._rules.known(bucket):
            answer = self._last(request)
            assert answer is not None
            return await answer
        request_id = self._new_id()
        try:
            told = await self._rules.preflight(bucket, key, _fields(request))
        except AwsError as error:
            return self._error(error, request_id)
        return HttpResponse(200, [*s3_ids(request_id), *told, ("Content-Length", "0")])

    async def _with_fields(self, request: HttpRequest, bucket: str, door: Door) -> HttpResponse:
        told = await self._rules.headers(bucket, request.method, _fields(request))
        answer = door(request)
        assert answer is not None
        response = await answer
        # Only S3's answers have this field, and only they are for its buckets.
        if told and any(name == "x-amz-id-2" for name, _ in response.headers):
            response.headers = [*response.headers, *told]
        return response


def _place(request: HttpRequest) -> tuple[str, str]:
    """(bucket, key), either of them empty."""
    bucket, _, key = unquote(bucket_path(request)).lstrip("/").partition("/")
    return bucket, key


def _fields(request: HttpRequest) -> dict[str, str]:
    given = ((name, request.headers.get(name)) for name in _ASKED)
    return {name: value for name, value in given if value is not None}
