"""Event streams of calls that a test holds and ends, for `gunicorn tests.support.stream_app:app` with one worker.

`POST /stream?images=2` ends with that many images of `bytes` bytes each, without `images` with an error. `held=1` holds
the call until `POST /release`; `head` and `heartbeat` are the two times in seconds. `GET /closed` counts the responses
that have ended, whether they were sent or not.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue

from app.errors import GatewayError, UpstreamError
from app.services.events import error_event, image_events
from app.web.error_handlers import register_error_handlers
from app.web.event_stream import event_stream_response
from app.web.request_hooks import register_request_hooks

Document = Mapping[str, Any]


class Withheld(UpstreamError):
    http_status = 403
    code = "1026"
    message = "The prompt was withheld."


app = Flask(__name__)
register_request_hooks(app)
register_error_handlers(app)
released = threading.Event()
closed: list[None] = []


@app.post("/stream")
@app.post("/v1/images/generations")
def stream() -> Response:
    images, size = int(request.args.get("images", "0")), int(request.args.get("bytes", "100"))
    is_held = "held" in request.args
    document = {"created": 17, "data": [{"b64_json": "/9j/" + "A" * size}] * images}

    def wait(seconds: float) -> Document | GatewayError | None:
        if is_held and not released.wait(seconds):
            return None
        return document if images else Withheld()

    response = event_stream_response(
        wait,
        render=lambda ended: image_events(ended, "generation", "1024x1024"),
        render_error=lambda error: error_event(error.envelope()),
        head_seconds=float(request.args.get("head", "0")),
        heartbeat_seconds=float(request.args.get("heartbeat", "0.05")),
    )
    response.call_on_close(lambda: closed.append(None))
    return response


@app.post("/release")
def release() -> ResponseReturnValue:
    released.set()
    return jsonify({})


@app.get("/closed")
def count_closed() -> ResponseReturnValue:
    return jsonify(len(closed))


@app.get("/readyz")
def ready() -> ResponseReturnValue:
    return jsonify({})
