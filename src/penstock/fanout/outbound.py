"""HTTP to the outside: webhooks, API destinations, token endpoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from penstock.core.errors import AwsError

if TYPE_CHECKING:
    import aiohttp

# An answer has at most so many bytes.
_MOST_BYTES: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class OutboundAnswer:
    """What an endpoint answered. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outbound:
    """Sends requests; one pool of connections for the whole process, opened with the first request."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, *, timeout_ms: int
    ) -> OutboundAnswer:
        """The endpoint's answer, of whatever status; redirects are not followed.

        Raises AwsError `CONNECTION_FAILURE` (503; 400 for an answer that is too long) when none came, `TIMEOUT` (504) when
        none came in time.
        """
        import aiohttp  # noqa: PLC0415 -- a quarter of the start: loaded when something calls out

        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=True, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        try:
            async with self._session.request(
                method,
                url,
                headers=headers,
                data=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_ms / 1000),
            ) as answer:
                found = bytearray()
                async for piece in answer.content.iter_any():
                    found += piece
                    if len(found) > _MOST_BYTES:
                        raise AwsError("CONNECTION_FAILURE", f"{url}: too long", status=400)
                kept = {name.lower(): value for name, value in answer.headers.items()}
                return OutboundAnswer(answer.status, kept, bytes(found))
        except TimeoutError as error:
            text = f"{url} did not answer within {timeout_ms / 1000:g} s."
            raise AwsError("TIMEOUT", text, status=504) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise AwsError("CONNECTION_FAILURE", f"{url}: {error}", status=503) from error

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
