"""Error classes and the JSON error envelope.

Nothing here imports Flask, so every room may raise these errors. The OpenAI SDKs obey `x-should-retry`. It defaults to
false, because a retry may be charged a second time.
"""

from __future__ import annotations

from typing import Any, Literal

ERROR_TYPE = "minimax_image_error"
MAX_RETRY_AFTER_SECONDS = 60  # the OpenAI SDKs ignore a longer Retry-After


class GatewayError(Exception):
    """An error response.

    `message` is shown to the caller and must never hold a key; a class may define its own. `param` names the faulty
    field, or is None. `code` is MiniMax's number as a string if MiniMax rejected the call, else a stable word.
    `retry_after` is in seconds. `drain_body` delays the response until the caller has sent the whole request.
    """

    http_status: int = 500
    code: str = "internal_error"
    message: str = ""
    should_retry: bool = False
    retry_after: int | None = None
    drain_body: bool = True
    extra_headers: tuple[tuple[str, str], ...] = ()

    def __init__(self, message: str | None = None, *, param: str | None = None, code: str | None = None) -> None:
        self.message = self.message if message is None else message
        self.param = param
        self.code = self.code if code is None else code
        super().__init__(self.message)

    def envelope(self) -> dict[str, Any]:
        """The response body: `{"error": {"message", "type", "param", "code"}}`."""
        return {"error": {"message": self.message, "type": ERROR_TYPE, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        headers = {"x-should-retry": "true" if self.should_retry else "false", **dict(self.extra_headers)}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return headers


class UpstreamError(GatewayError):
    """MiniMax rejected the call, or the call failed on the way.

    `outcome_unknown` is True if MiniMax may have drawn, and billed, images that were not received. `is_final` is True
    if the same request would be rejected again. `trace_id` is MiniMax's id of the call and `upstream_ms` its duration
    in milliseconds; both are for the log.

    `key_fault` says what the call revealed about the upstream key: `rate` (it has begun too many calls), `account` (its
    balance or quota is used up), or `refused`. Such a call has drawn nothing. `key_rest_seconds` is how long MiniMax
    wants to be left alone with that key, if it said so.
    """

    outcome_unknown: bool = False
    is_final: bool = False
    key_fault: Literal["rate", "account", "refused"] | None = None
    key_rest_seconds: int | None = None
    trace_id: str | None = None
    upstream_ms: int | None = None


class InvalidRequest(GatewayError):
    """400: the request breaks a rule of the contract."""

    http_status = 400
    code = "invalid_value"


class InvalidApiKey(GatewayError):
    """401: missing, unknown, revoked or expired key (one message for all)."""

    http_status = 401
    code = "invalid_api_key"
    message = "Missing, unknown, revoked or expired API key: send one as 'Authorization: Bearer <key>'."
    extra_headers = (("WWW-Authenticate", "Bearer"),)


class ModelNotAuthorized(GatewayError):
    """403: a known model that this gateway, endpoint or API key does not serve."""

    http_status = 403
    code = "model_not_authorized"


class ModelNotFound(GatewayError):
    """404 of `GET /v1/models/{id}`."""

    http_status = 404
    code = "model_not_found"


class ImageNotFound(GatewayError):
    """404: no image of this id is kept, it has expired, or, for a deletion, it is another key's."""

    http_status = 404
    code = "image_not_found"
    message = "There is no image of this id: it has expired, has been deleted, or was never kept here."


class ImageStoreUnavailable(GatewayError):
    """503: the image store cannot be used. If this ends a call, nothing was sent to MiniMax, so a retry is safe."""

    http_status = 503
    code = "image_store_unavailable"
    should_retry = True
    retry_after = 5
    message = f"The image store is unavailable. Nothing was sent to MiniMax; retry in {retry_after} seconds."


class UnsupportedContentType(GatewayError):
    """415: the endpoint does not read bodies of this content type."""

    http_status = 415
    code = "unsupported_media_type"


class GatewayFull(GatewayError):
    """503: the concurrency limit is reached. Nothing was sent to MiniMax, so a retry is safe."""

    http_status = 503
    code = "gateway_full"
    should_retry = True
    retry_after = 2
    message = f"The gateway is at its concurrency limit; retry in {retry_after} seconds."
    drain_body = False


class UpstreamBusy(UpstreamError):
    """429: no upstream key had a turn for this call in time. Nothing was sent. `retry_after` is in seconds."""

    http_status = 429
    code = "upstream_busy"
    should_retry = True

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"All upstream keys are busy; nothing was sent to MiniMax. Retry in {retry_after} seconds.")
        self.retry_after = retry_after


class ShuttingDown(UpstreamError):
    """503: the gateway stops before this call had its turn. Nothing was sent to MiniMax, so a retry is safe."""

    http_status = 503
    code = "shutting_down"
    should_retry = True
    retry_after = 2
    message = f"The gateway is shutting down; nothing was sent to MiniMax. Retry in {retry_after} seconds."


class CallerGone(GatewayError):
    """The caller disconnected before its turn, so nothing was sent. 499 is nginx's status for it, seen in logs only."""

    http_status = 499
    code = "caller_gone"
    message = "The caller disconnected before its turn; nothing was sent to MiniMax."
    drain_body = False


class IdempotencyKeyReused(GatewayError):
    """422: the caller has sent this idempotency key with another request."""

    http_status = 422
    code = "idempotency_key_reused"
    message = "This Idempotency-Key was used for another request: send a new key. Nothing was sent to MiniMax."


class AnswerExpired(GatewayError):
    """410: the answer to this idempotency key was removed to make room. A new key generates, and charges, anew."""

    http_status = 410
    code = "answer_expired"
    message = "The answer was removed to make room for newer ones. A new Idempotency-Key generates new images."


class TaskNotFound(GatewayError):
    """404: the caller has no such task, or its answer has expired."""

    http_status = 404
    code = "task_not_found"
    message = "This API key has no task with this id, or its answer has expired."


class TaskNotWithdrawn(GatewayError):
    """409: the task to be withdrawn was sent to MiniMax, or another request waits for it."""

    http_status = 409
    code = "task_not_withdrawn"
    message = "This task can no longer be withdrawn: it was sent to MiniMax, or another request waits for it."


class TaskWithdrawn(UpstreamError):
    """503: the task was given up before it was sent: its caller withdrew it, or its worker did not respond."""

    http_status = 503
    code = "not_started"
    should_retry = True
    retry_after = 1
    message = "The gateway gave the call up before it was sent to MiniMax; retry in 1 second."


class OutcomeUnknown(UpstreamError):
    """502: the worker that made the call has ended before the response."""

    http_status = 502
    code = "outcome_unknown"
    outcome_unknown = True
    message = (
        "The gateway's worker ended before MiniMax's response; the image may have been generated, and charged to the "
        "gateway."
    )


class AnswerNotStored(UpstreamError):
    """503: the images cannot be stored, and their caller has left. They are not charged to it."""

    http_status = 503
    code = "answer_not_stored"
    outcome_unknown = True
    message = "The images were generated, but cannot be stored for a caller that has left."


class SpoolFull(GatewayError):
    """503: no disk space for the request body. Nothing was sent to MiniMax, so a retry is safe."""

    http_status = 503
    code = "storage_full"
    should_retry = True
    retry_after = 5
    message = f"No disk space left to buffer the request body; retry in {retry_after} seconds."


class RateLimited(GatewayError):
    """429: a limit of this API key. Nothing was sent. `retry_after` is when the next call fits, in seconds."""

    http_status = 429
    code = "rate_limit_exceeded"
    should_retry = True

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InsufficientBalance(GatewayError):
    """429: the balance of this API key does not cover the call. Nothing was sent. Amounts are in micro-units."""

    http_status = 429
    code = "insufficient_balance"

    def __init__(self, balance: int, cost: int) -> None:
        super().__init__(f"The balance of this API key is {balance} micro-units and the call costs {cost}.")
        self.balance = balance


class DatabaseUnavailable(GatewayError):
    """503: the database does not respond. Nothing was sent to MiniMax, so a retry is safe."""

    http_status = 503
    code = "storage_unavailable"
    should_retry = True
    retry_after = 5
    message = f"The database is unavailable. Nothing was sent to MiniMax; retry in {retry_after} seconds."


class AnswerUnavailable(DatabaseUnavailable):
    """503: the answer of an earlier call cannot be read. That call may have been sent; a retry waits for it again."""

    message = (
        f"The database is unavailable, so the answer of the earlier call cannot be read; "
        f"retry in {DatabaseUnavailable.retry_after} seconds."
    )


class UsageQueryLimit(GatewayError):
    """503: too many usage queries are running. A retry is safe."""

    http_status = 503
    code = "usage_busy"
    should_retry = True
    retry_after = 2
    message = f"Too many usage queries are running; retry in {retry_after} seconds."
