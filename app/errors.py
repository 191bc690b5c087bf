"""Owns what can go wrong: `GatewayError`, its kinds, and the one envelope that callers see.

Nothing here knows Flask, so every room may raise these. `x-should-retry` is what the OpenAI SDKs obey; it
defaults to false because a blind retry may be charged a second time.
"""

from __future__ import annotations

from typing import Any

ERROR_TYPE = "minimax_image_error"


class GatewayError(Exception):
    """An answer other than 200.

    `message` is for the caller and must never hold a key; `param` names the faulty field, or is None;
    `code` is MiniMax's own number as a string where MiniMax refused, else a stable word.
    `retry_after` is in seconds. `drain_body` makes the answer wait until the caller has sent everything.
    """

    http_status: int = 500
    code: str = "internal_error"
    should_retry: bool = False
    retry_after: int | None = None
    drain_body: bool = True
    extra_headers: tuple[tuple[str, str], ...] = ()

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code

    def envelope(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": ERROR_TYPE, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        headers = {"x-should-retry": "true" if self.should_retry else "false", **dict(self.extra_headers)}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return headers


class UpstreamError(GatewayError):
    """MiniMax rejected the call, or the call failed on the way.

    `outcome_unknown` is True where MiniMax may have drawn, and billed, images that nobody received. `trace_id` is
    MiniMax's id of the call and `upstream_ms` its duration in milliseconds; both are for the log.
    """

    outcome_unknown: bool = False
    trace_id: str | None = None
    upstream_ms: int | None = None


class InvalidRequest(GatewayError):
    """400: the caller's request breaks a rule of the contract."""

    http_status = 400
    code = "invalid_value"


class InvalidApiKey(GatewayError):
    """401: no key, or one that does not hold. The same words for all of them, and the key is never echoed."""

    http_status = 401
    code = "invalid_api_key"
    extra_headers = (("WWW-Authenticate", "Bearer"),)

    def __init__(self) -> None:
        super().__init__("Missing, unknown, revoked or expired API key: send one as 'Authorization: Bearer <key>'.")


class ModelNotAuthorized(GatewayError):
    """403: a known model that this gateway, or this endpoint, does not serve."""

    http_status = 403
    code = "model_not_authorized"


class ModelNotFound(GatewayError):
    """404 of `GET /v1/models/{id}`."""

    http_status = 404
    code = "model_not_found"


class UnsupportedContentType(GatewayError):
    """415: the body is of a kind that the endpoint does not read."""

    http_status = 415
    code = "unsupported_media_type"


class GatewayFull(GatewayError):
    """503: every slot for a call is taken; nothing was sent, so trying again is safe."""

    http_status = 503
    code = "gateway_full"
    should_retry = True
    retry_after = 2
    drain_body = False

    def __init__(self) -> None:
        super().__init__("The gateway is busy with as many calls as it can hold: try again in a moment.")


class SpoolFull(GatewayError):
    """503: there is no room for a caller's body; nothing was sent, so trying again is safe."""

    http_status = 503
    code = "storage_full"
    should_retry = True
    retry_after = 5

    def __init__(self) -> None:
        super().__init__("The gateway has no room left to keep a body while it works on it: try again in a moment.")


class RateLimited(GatewayError):
    """429: a limit of this key; nothing was sent. `retry_after` is when the window lets the next one in, in seconds."""

    http_status = 429
    code = "rate_limit_exceeded"
    should_retry = True

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InsufficientBalance(GatewayError):
    """429: the key's balance does not pay for this call; nothing was sent. In micro-units."""

    http_status = 429
    code = "insufficient_balance"

    def __init__(self, balance: int, cost: int) -> None:
        super().__init__(f"The balance of this API key is {balance} micro-units and the call costs {cost}.")
        self.balance = balance


class DatabaseUnavailable(GatewayError):
    """503: the database cannot be asked; nothing was sent."""

    http_status = 503
    code = "storage_unavailable"
    should_retry = True
    retry_after = 5

    def __init__(self) -> None:
        super().__init__("The gateway cannot reach its database: try again in a moment. Nothing was sent.")


class UsageQueryLimit(GatewayError):
    """503: others are having their usage added up; asking again is safe."""

    http_status = 503
    code = "usage_busy"
    should_retry = True
    retry_after = 2

    def __init__(self) -> None:
        super().__init__("The gateway is adding up the usage of others: try again in a moment.")
