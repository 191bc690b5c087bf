"""The sandbox's endpoints: MiniMax's image generation, and the images behind its URLs."""

from __future__ import annotations

import base64
import secrets
import threading
import time
import uuid
from collections import OrderedDict
from typing import Any

from flask import Flask, Response, abort, jsonify, request, url_for
from flask.typing import ResponseReturnValue
from marshmallow import ValidationError
from PIL import Image

from app.sandbox.accounts import Accounts
from app.sandbox.call_counter import CallCounter
from app.sandbox.drawing import draw_jpeg
from app.sandbox.fault_injection import InjectedFaults, UnknownFault, break_connection
from app.sandbox.rules import RequestSchema, open_reference, pixels_of

MAX_STORED_IMAGES = 256
_SCHEMA = RequestSchema()
_MESSAGES = {
    1000: "unknown error",
    1002: "rate limit",
    1004: "login fail: please carry the API secret key in the 'Authorization' field",
    1008: "insufficient balance",
    1026: "input new_sensitive",
    1027: "output new_sensitive",
    2013: "invalid params",
    2049: "invalid api key",
}


class ImageStore:
    """The images last drawn, by name. The oldest are dropped beyond `MAX_STORED_IMAGES`."""

    def __init__(self) -> None:
        self._images: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, image: bytes) -> str:
        """Store an image and return its name."""
        name = uuid.uuid4().hex
        with self._lock:
            self._images[name] = image
            while len(self._images) > MAX_STORED_IMAGES:
                self._images.popitem(last=False)
        return name

    def get(self, name: str) -> bytes | None:
        with self._lock:
            return self._images.get(name)


class SandboxError(Exception):
    """An error as MiniMax sends it: HTTP 200 with a code. `message` defaults to the code's own."""

    def __init__(self, code: int, message: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.message = message or _MESSAGES.get(code, "injected error")


def create_sandbox(accounts: Accounts) -> Flask:
    """Return the stand-in as a WSGI app that accepts the keys of `accounts` only."""
    app = Flask(__name__, static_folder=None)
    store = ImageStore()
    counter = CallCounter(accounts.requests_per_minute)

    @app.post("/v1/image_generation")
    def image_generation() -> ResponseReturnValue:
        _check_key(accounts, counter)
        fields, reference, faults = _read(request.get_json(silent=True))
        return _inject(faults) or _success(fields, _draw(fields, reference, faults.withheld), store)

    @app.get("/images/<name>.jpg")
    def image(name: str) -> ResponseReturnValue:
        return Response(store.get(name) or abort(404), content_type="image/jpeg")

    @app.get("/healthz")
    def healthz() -> ResponseReturnValue:
        return jsonify({"status": "ok"})

    @app.errorhandler(SandboxError)
    def handle_error(error: SandboxError) -> ResponseReturnValue:
        return _respond({"base_resp": {"status_code": error.code, "status_msg": error.message}})

    return app


def _check_key(accounts: Accounts, counter: CallCounter) -> None:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    code = accounts.code(key) if scheme == "Bearer" else 1004
    if code is not None:
        raise SandboxError(code)
    if not counter.begin(key):
        raise SandboxError(1002)


def _read(body: Any) -> tuple[dict[str, Any], Image.Image | None, InjectedFaults]:
    try:
        fields = _SCHEMA.load(body)
        return fields, open_reference(fields), InjectedFaults.of(fields["prompt"])
    except (ValidationError, UnknownFault) as error:
        raise SandboxError(2013, f"invalid params, {error}") from error


def _inject(faults: InjectedFaults) -> Response | None:
    """Wait, then fail as the prompt says. Return the faulty response, or None if the images are to be drawn."""
    time.sleep(faults.slow)
    if faults.code:
        raise SandboxError(faults.code)
    if faults.fault == "html":
        return Response("<html><h1>502 Bad Gateway</h1></html>", 502, content_type="text/html")
    if faults.fault:
        break_connection(request.environ, faults.fault)
        return Response()
    return None


def _draw(fields: dict[str, Any], reference: Image.Image | None, withheld: int) -> list[bytes]:
    seed = fields.get("seed", secrets.randbits(32))
    size = pixels_of(fields)
    label = f"{fields.get('aspect_ratio', '')} {size[0]}x{size[1]}".strip()
    return [
        draw_jpeg(prompt=fields["prompt"], seed=seed, index=index, size=size, label=label, reference=reference)
        for index in range(fields["n"] - withheld)
    ]


def _success(fields: dict[str, Any], images: list[bytes], store: ImageStore) -> Response:
    if fields["response_format"] == "base64":
        data = {"image_base64": [base64.b64encode(image).decode() for image in images]}
    else:
        data = {"image_urls": [url_for("image", name=store.add(image), _external=True) for image in images]}
    # MiniMax sends the counts as strings, although its documentation calls them integers.
    counts = {"success_count": str(len(images)), "failed_count": str(fields["n"] - len(images))}
    return _respond({"data": data, "metadata": counts, "base_resp": {"status_code": 0, "status_msg": "success"}})


def _respond(document: dict[str, Any]) -> Response:
    trace_id = uuid.uuid4().hex
    response = jsonify({"id": trace_id, **document})
    response.headers["Trace-Id"] = trace_id
    return response
