"""The guide that the document has beside its reference, in Markdown, and the groups of its operations."""

from __future__ import annotations

GUIDE = """\
OpenAI's image endpoints with MiniMax Image 01. An OpenAI SDK needs only another base URL and key.

## Base URL

This server's URL and `/v1`, such as `https://images.example.com/v1`. `model` is `MiniMax-Image-01`, or a name from
`GET /v1/models`. Responses may get new fields: ignore those that you do not know.

## Authentication

`Authorization: Bearer KEY`, with the API key that the operator gave you. Keep it on your server: whoever has it can
spend what is left on it. A missing or unknown key is 401 `invalid_api_key`.

## Errors and retries

Every error has the same form. `code` is stable, `message` is for a person, and `param` names the faulty field, if there
is one.

    {
      "error": {
        "message": "n must be from 1 to 9.",
        "type": "minimax_image_error",
        "param": "n",
        "code": "invalid_value"
      }
    }

The header `x-should-retry` is `true` only where a retry is known to cost nothing, and `Retry-After` is then the time to
wait, in seconds. The OpenAI SDKs obey both. Other clients should:

- retry where `x-should-retry` is `true`, after `Retry-After`;
- never repeat another failed call by themselves, because its image may have been drawn, unless it had an idempotency
  key;
- name `x-request-id` when they ask the operator.

`x-errorCodes` in the document lists every code, with its status and whether to retry. Where nginx is in front of the
gateway, as the gateway's documentation has it, nginx responds in the same form to what it does not pass on:

- `gateway_unreachable` (502, 504): nothing accepted the connection, and nothing was sent. Retried: yes.
- `gateway_interrupted` (502): the connection was closed before the response. Retried: no.
- `gateway_timeout` (504): there was no response in time. Retried: no.
- `http_version_not_supported` (505): an HTTP version other than 1. Retried: no.
- `nginx_refused` (any other): anything else that nginx rejects. Retried: no.

## Calls from a browser

Where the operator allows the origin of a web page, responses have `Access-Control-…` headers, and preflight requests
(`OPTIONS`) need no key. Cookies are never allowed. Everyone who opens such a page can read the key in it: give it a key
with a small balance.

## Idempotency

Send `Idempotency-Key` with a value of your own, such as a UUID, for each image that you want. The same key with the
same request gets the same answer, with `idempotent-replayed: true`, and costs nothing. With another request it is 422
`idempotency_key_reused`. The OpenAI SDKs' own retries join the call that they repeat without such a key.

## Streams

With `"stream": true` the response is `text/event-stream`: one `image_generation.completed` or `image_edit.completed`
for each image, with `b64_json`. Lines that begin with `:` keep the connection open. A failure after the head of the
response is an event `error`, whose data has the body of an error.

## Tasks

A call that may outlast its connection is made as a task: `POST` to the path with `/async` at its end, or with
`Prefer: respond-async`. The response is 202, with the task's path in `Location`. `GET` that path with `?wait=20`
until `status` is `completed`, with `result`, or `failed`, with `error`.

## Cost

A model's `pricing` in `GET /v1/models` is what one image costs, in micro-units: a millionth of `currency`. Only
images that were delivered are charged. Where the operator has set prices, `x-amux-charged` tells what a call cost,
and `x-amux-balance` what is left. `GET /v1/usage`, where there is a database, has the totals. The headers
`x-ratelimit-…` tell what is left of a limit.
"""

# In the order in which readers see them.
TAGS = {
    "Images": "Draw images from a text, and from a reference image. Keep or delete them.",
    "Tasks": "Calls that run without a connection, and their results.",
    "Models": "The models of this API key, with their prices.",
    "Usage": "What this API key has drawn and spent, and what is left of its limits.",
    "Operation": "For the operator, and this document. They need no API key.",
}
