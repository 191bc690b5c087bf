"""Owns the call to MiniMax: one method for its one endpoint."""

from __future__ import annotations

import http.cookiejar
import logging
import threading
from collections.abc import Mapping
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from app.minimax.answer import Answer, find_trace_id, read_images
from app.minimax.errors import MinimaxError
from app.minimax.transport import DeadlineAdapter, Exchange, exchange

log = logging.getLogger(__name__)

# Nine pictures of a few MB each as base64 stay far below it; what is larger is no answer of MiniMax's.
MAX_ANSWER_BYTES = 128 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024


class MinimaxClient:
    """`POST {base_url}/v1/image_generation`, sent at most once unless connecting failed."""

    def __init__(self, base_url: str, api_key: str, timeout_seconds: float) -> None:
        """`timeout_seconds` is the total deadline of one call, from connecting to the answer's last byte."""
        self._url = f"{base_url}/v1/image_generation"
        self._api_key = api_key
        self._timeout_seconds = timeout_seconds
        self._local = threading.local()

    def generate_images(self, payload: Mapping[str, Any]) -> Answer:
        """Sends MiniMax's own fields and returns at least one picture; whatever else happens is a `MinimaxError`."""
        trace_id: str | None = None
        with exchange(self._timeout_seconds) as call:
            try:
                response = self._session.post(
                    self._url,
                    json=payload,
                    headers={"Authorization": f"Bearer {self._api_key}", "Accept-Encoding": "identity"},
                    stream=True,
                    allow_redirects=False,
                )
                with response:
                    trace_id = find_trace_id(response.headers)
                    body = _read_body(response)
                images, metadata = read_images(
                    response.status_code,
                    body,
                    response_format=payload["response_format"],
                    retry_after=response.headers.get("Retry-After"),
                    secrets=self._secrets(payload),
                )
            except MinimaxError as error:
                raise self._report(error, call, trace_id) from error.__cause__
            # requests lets some of urllib3's and the socket's own errors through.
            except (requests.RequestException, HTTPError, OSError) as error:
                raise self._report(MinimaxError(_wire_fault(call)), call, trace_id) from error
            return Answer(images=images, metadata=metadata, trace_id=trace_id, upstream_ms=call.elapsed_ms)

    @property
    def _session(self) -> requests.Session:
        """This thread's session: requests does not promise that one can be shared."""
        if not hasattr(self._local, "session"):
            self._local.session = _new_session()
        session: requests.Session = self._local.session
        return session

    def _secrets(self, payload: Mapping[str, Any]) -> tuple[str, ...]:
        references = (item["image_file"] for item in payload.get("subject_reference", ()))
        return (self._api_key, payload["prompt"], *references)

    @staticmethod
    def _report(error: MinimaxError, call: Exchange, trace_id: str | None) -> MinimaxError:
        error.trace_id = trace_id
        error.upstream_ms = call.elapsed_ms
        if error.operators_fault:
            log.critical(
                "MiniMax refused this gateway's own key: check MINIMAX_API_KEY and MINIMAX_BASE_URL",
                extra={"code": error.code, "trace_id": trace_id},
            )
        return error


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None: even unfollowed, requests reads a redirect's whole body, without a bound, and parses its Location."""
        return None


def _new_session() -> requests.Session:
    session = _Session()
    session.trust_env = False  # no proxies from the environment, and no ~/.netrc over the Authorization header
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        session.mount(scheme, DeadlineAdapter())
    return session


def _read_body(response: requests.Response) -> bytes:
    chunks, size = [], 0
    for chunk in response.iter_content(_CHUNK_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise MinimaxError("upstream_invalid_answer", detail=f"longer than {MAX_ANSWER_BYTES} bytes")
    return b"".join(chunks)


def _wire_fault(call: Exchange) -> str:
    if not call.sent:
        return "upstream_unreachable"
    return "upstream_deadline" if call.is_over else "upstream_interrupted"
