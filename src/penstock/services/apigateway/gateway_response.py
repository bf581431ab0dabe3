"""Gateway responses: what API Gateway itself answers, by type."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

TEMPLATE: Final = '{"message":$context.error.messageString}'


class Default(NamedTuple):
    """AWS's own response of a type. `status` is None for the two fallbacks."""

    status: int | None
    error: str
    message: str | None


DEFAULTS: Final[Mapping[str, Default]] = {
    "ACCESS_DENIED": Default(
        403, "AccessDeniedException", "User is not authorized to access this resource"
    ),
    "API_CONFIGURATION_ERROR": Default(500, "ApiConfigurationException", "Internal server error"),
    "AUTHORIZER_CONFIGURATION_ERROR": Default(500, "AuthorizerConfigurationException", None),
    "AUTHORIZER_FAILURE": Default(500, "AuthorizerFailureException", None),
    "BAD_REQUEST_BODY": Default(400, "BadRequestException", "Invalid request body"),
    "BAD_REQUEST_PARAMETERS": Default(400, "BadRequestException", "Invalid request parameters"),
    "DEFAULT_4XX": Default(None, "", None),
    "DEFAULT_5XX": Default(None, "", None),
    "EXPIRED_TOKEN": Default(
        403, "ExpiredTokenException", "The security token included in the request is expired"
    ),
    "INTEGRATION_FAILURE": Default(504, "InternalServerErrorException", "Internal server error"),
    "INTEGRATION_TIMEOUT": Default(
        504, "InternalServerErrorException", "Endpoint request timed out"
    ),
    "INVALID_API_KEY": Default(403, "ForbiddenException", "Forbidden"),
    "INVALID_SIGNATURE": Default(403, "InvalidSignatureException", None),
    "MISSING_AUTHENTICATION_TOKEN": Default(
        403, "MissingAuthenticationTokenException", "Missing Authentication Token"
    ),
    "QUOTA_EXCEEDED": Default(429, "LimitExceededException", "Limit Exceeded"),
    "REQUEST_TOO_LARGE": Default(413, "RequestTooLargeException", "Request Too Long"),
    "RESOURCE_NOT_FOUND": Default(404, "ResourceNotFoundException", None),
    "THROTTLED": Default(429, "TooManyRequestsException", "Too Many Requests"),
    "UNAUTHORIZED": Default(401, "UnauthorizedException", "Unauthorized"),
    "UNSUPPORTED_MEDIA_TYPE": Default(415, "BadRequestException", "Unsupported Media Type"),
    "WAF_FILTERED": Default(403, "ForbiddenException", "Forbidden"),
}


class GatewayFailure(Exception):
    """A request ends here, with the gateway response of type `kind`.

    `status`, `message` and `error` replace the type's own where AWS answers otherwise.
    """

    def __init__(
        self,
        kind: str,
        message: str | None = None,
        *,
        status: int | None = None,
        error: str | None = None,
    ) -> None:
        super().__init__(kind)
        default = DEFAULTS[kind]
        self.kind = kind
        self.message = message if message is not None else default.message
        self.status = status or default.status or 500
        self.error = error or default.error
        self.reason = ""
        """Why, for the log: clients are told no more than AWS tells them."""


def bad_gateway(reason: str) -> GatewayFailure:
    """AWS: a Lambda proxy integration that fails or answers out of shape is a 502 (REST developer guide)."""
    failure = GatewayFailure(
        "DEFAULT_5XX", "Internal server error", status=502, error="InternalServerErrorException"
    )
    failure.reason = reason
    return failure


def internal_error(reason: str) -> GatewayFailure:
    """What went wrong between request and integration: 500."""
    failure = GatewayFailure("API_CONFIGURATION_ERROR", error="InternalServerErrorException")
    failure.reason = reason
    return failure


def default_response(kind: str) -> dict[str, Any]:
    """AWS's own response of a type, as the API describes it."""
    response: dict[str, Any] = {
        "responseType": kind,
        "responseParameters": {},
        "responseTemplates": {"application/json": TEMPLATE},
        "defaultResponse": True,
    }
    status = DEFAULTS[kind].status
    if status is not None:
        response["statusCode"] = str(status)
    return response
