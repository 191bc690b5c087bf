"""What the document says of each error of `app.errors`: sentences for callers, without the last full stop."""

from __future__ import annotations

_NOT_SENT = "Nothing was sent to MiniMax"

# By code.
MEANINGS = {
    "internal_error": "an internal error, logged under `x-request-id`",
    "invalid_value": "a field, header or parameter breaks its rule: `param` names it, and `message` says the rule",
    "invalid_api_key": "the API key is missing, unknown, revoked or expired",
    "model_not_authorized": "the model is not enabled here, not served at this path, or not allowed for this API key",
    "model_not_found": "there is no model of this name",
    "image_not_found": "no image of this id is kept: it has expired, or, for a deletion, it is another API key's",
    "image_store_unavailable": f"the store of images is unavailable. {_NOT_SENT}",
    "unsupported_media_type": "the body is neither JSON nor, on edits, a form, or it has a `Content-Encoding`",
    "gateway_full": f"the gateway holds as many calls as it can. {_NOT_SENT}",
    "upstream_busy": f"all keys for MiniMax are busy. {_NOT_SENT}; `Retry-After` says when a turn is likely",
    "shutting_down": f"the gateway stops before the call had its turn. {_NOT_SENT}",
    "idempotency_key_reused": f"this `Idempotency-Key` was used for another request. {_NOT_SENT}",
    "answer_expired": (
        "the answer was removed to make room for newer ones. With another `Idempotency-Key` the image is drawn, and "
        "charged, again"
    ),
    "task_not_found": "this API key has no task of this id, or the task has expired",
    "task_not_withdrawn": "the task was sent to MiniMax, or another request waits for it",
    "not_started": (
        "the call was given up before it was sent: its caller withdrew it, or the gateway's process stopped responding"
    ),
    "outcome_unknown": "the gateway's process ended during the call. The image may have been drawn",
    "answer_not_stored": "there is no room left for the answer. The image was drawn",
    "storage_full": f"there is no room left for the body of the request. {_NOT_SENT}",
    "rate_limit_exceeded": f"a limit of this API key, such as its images per minute. {_NOT_SENT}",
    "insufficient_balance": f"the balance of this API key does not cover the call. {_NOT_SENT}",
    "storage_unavailable": f"the database is unavailable. {_NOT_SENT} for this request",
    "usage_busy": "the gateway is busy with other usage queries",
}

# By code: requests for which `x-should-retry` is false, although it is true for the others.
RETRY_EXCEPTIONS = {
    "rate_limit_exceeded": "a request for more than the limit, which is never admitted and gets no `Retry-After`"
}
