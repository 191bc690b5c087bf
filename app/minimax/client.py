"""MiniMax client: one method for its one endpoint."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from app.errors import SpoolFull
from app.minimax.errors import SCANNED_CHARS, MinimaxError
from app.minimax.response import find_trace_id, parse_response
from app.minimax.transport import DeadlineAdapter, UpstreamCall, upstream_call
from app.services.image_request import ImageResult
from app.spooling.json_reader import JsonReader
from app.spooling.json_writer import JsonBody
from app.spooling.spool import Spool
from app.spooling.spooled_text import SpooledText

log = logging.getLogger(__name__)

# Nine images of a few MB each as base64 stay far below it.
MAX_RESPONSE_BYTES = 128 * 1024 * 1024
_CHUNK_BYTES = 128 * 1024


class MinimaxClient:
    """`POST {base_url}/v1/image_generation`, sent at most once unless connecting failed. Threads may share it."""

    def __init__(
        self,
        base_url: str,
        timeout_seconds: float,
        *,
        max_connections: int = 10,
        spool_folder: str | None = None,
    ) -> None:
        """`timeout_seconds` is the total deadline of one call, from connecting to the response's last byte.

        `max_connections` is how many idle connections are kept open; `spool_folder` holds large responses.
        """
        self._timeout_seconds = timeout_seconds
        self._spool_folder = spool_folder
        # No session: it would apply proxies, cookies, redirects and netrc to every call.
        self._adapter = DeadlineAdapter(max_connections)
        self._headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "amux-image-gateway",
        }
        self._request_template = requests.Request("POST", f"{base_url}/v1/image_generation").prepare()

    def generate_images(self, payload: Mapping[str, Any], api_key: str) -> ImageResult:
        """Send `payload`, MiniMax's own fields, and return at least one image. The caller closes the result.

        Raises `MinimaxError` for everything else, with `trace_id` and `upstream_ms` (milliseconds) set.
        """
        spool = Spool(self._spool_folder)
        result: ImageResult | None = None
        try:
            result = self._call(payload, api_key, spool)
            return result
        finally:
            if result is None or not spool.size:
                spool.close()

    def _call(self, payload: Mapping[str, Any], api_key: str, spool: Spool) -> ImageResult:
        trace_id: str | None = None
        with upstream_call(self._timeout_seconds) as call:
            try:
                with self._adapter.send(self._request(payload, api_key), stream=True) as response:
                    trace_id = find_trace_id(response.headers)
                    body = _read_body(response, spool)
                images, metadata = parse_response(
                    response.status_code,
                    body,
                    response_format=payload["response_format"],
                    retry_after=response.headers.get("Retry-After"),
                    secrets=_secrets(payload, api_key),
                )
            except MinimaxError as error:
                raise _with_call_details(error, call, trace_id) from error.__cause__
            except SpoolFull as error:
                raise _with_call_details(MinimaxError("answer_not_stored"), call, trace_id) from error
            # requests does not wrap every error of urllib3 and of the socket.
            except (requests.RequestException, HTTPError, OSError) as error:
                raise _with_call_details(MinimaxError(_transport_error_code(call)), call, trace_id) from error
            return ImageResult(images, metadata, trace_id, call.elapsed_ms, close=spool.close)

    def _request(self, payload: Mapping[str, Any], api_key: str) -> requests.PreparedRequest:
        body = JsonBody(payload)
        request = copy.copy(self._request_template)
        request.body = body  # type: ignore[assignment]
        own = {"Authorization": f"Bearer {api_key}", "Content-Length": str(len(body))}
        request.headers = {**self._headers, **own}  # type: ignore[assignment]
        return request


def _secrets(payload: Mapping[str, Any], api_key: str) -> tuple[str, ...]:
    references = (item["image_file"] for item in payload.get("subject_reference", ()))
    return (api_key, payload["prompt"], *map(_scanned_part, references))


def _with_call_details(error: MinimaxError, call: UpstreamCall, trace_id: str | None) -> MinimaxError:
    error.trace_id = trace_id
    error.upstream_ms = call.elapsed_ms
    if error.is_operator_error:
        log.critical(
            "MiniMax rejected a key of the gateway: check MINIMAX_API_KEY or MINIMAX_API_KEYS, and MINIMAX_BASE_URL",
            extra={"code": error.code, "trace_id": trace_id},
        )
    return error


def _read_body(response: requests.Response, spool: Spool) -> JsonReader:
    reader, size = JsonReader(spool), 0
    for chunk in response.iter_content(_CHUNK_BYTES):
        reader.feed(chunk)
        size += len(chunk)
        if size > MAX_RESPONSE_BYTES:
            raise MinimaxError("upstream_invalid_answer", detail=f"longer than {MAX_RESPONSE_BYTES} bytes")
    return reader


def _scanned_part(reference: str | SpooledText) -> str:
    return reference if isinstance(reference, str) else reference.head(SCANNED_CHARS)


def _transport_error_code(call: UpstreamCall) -> str:
    if not call.sent:
        return "upstream_unreachable"
    return "upstream_deadline" if call.is_over else "upstream_interrupted"
