"""Owns the sandbox's two endpoints: MiniMax's image generation, and the pictures behind its URLs."""

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

from app.sandbox.drawing import draw_jpeg
from app.sandbox.fault_injection import InjectedFaults, UnknownFault, break_connection
from app.sandbox.rules import RequestSchema, open_reference, pixels_of

MAX_KEPT_PICTURES = 256
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


class PictureStore:
    """The last pictures drawn, by name; the oldest go first."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, picture: bytes) -> str:
        name = uuid.uuid4().hex
        with self._lock:
            self._pictures[name] = picture
            while len(self._pictures) > MAX_KEPT_PICTURES:
                self._pictures.popitem(last=False)
        return name

    def get(self, name: str) -> bytes | None:
        with self._lock:
            return self._pictures.get(name)


class SandboxError(Exception):
    """Ends in MiniMax's way of refusing: HTTP 200 with a code."""

    def __init__(self, code: int, message: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.message = message or _MESSAGES.get(code, "rehearsed refusal")


def create_sandbox(api_key: str) -> Flask:
    """The stand-in as a WSGI app that accepts `api_key` only."""
    app = Flask(__name__, static_folder=None)
    store = PictureStore()

    @app.post("/v1/image_generation")
    def image_generation() -> ResponseReturnValue:
        _check_key(api_key)
        drawing, reference, rehearsal = _read(request.get_json(silent=True))
        fault = _rehearse(rehearsal)
        return fault or _answer(drawing, _draw(drawing, reference, rehearsal.withheld), store)

    @app.get("/pictures/<name>.jpg")
    def picture(name: str) -> ResponseReturnValue:
        return Response(store.get(name) or abort(404), content_type="image/jpeg")

    @app.get("/healthz")
    def healthz() -> ResponseReturnValue:
        return jsonify({"status": "ok"})

    @app.errorhandler(SandboxError)
    def refuse(error: SandboxError) -> ResponseReturnValue:
        return _respond({"base_resp": {"status_code": error.code, "status_msg": error.message}})

    return app


def _check_key(api_key: str) -> None:
    if request.headers.get("Authorization") != f"Bearer {api_key}":
        raise SandboxError(1004)


def _read(body: Any) -> tuple[dict[str, Any], Image.Image | None, InjectedFaults]:
    try:
        drawing = _SCHEMA.load(body)
        return drawing, open_reference(drawing), InjectedFaults.of(drawing["prompt"])
    except (ValidationError, UnknownFault) as error:
        raise SandboxError(2013, f"invalid params, {error}") from error


def _rehearse(rehearsal: InjectedFaults) -> Response | None:
    """The answer that is no drawing, where the prompt asks for one."""
    time.sleep(rehearsal.slow)
    if rehearsal.code:
        raise SandboxError(rehearsal.code)
    if rehearsal.fault == "html":
        return Response("<html><h1>502 Bad Gateway</h1></html>", 502, content_type="text/html")
    if rehearsal.fault:
        break_connection(request.environ, rehearsal.fault)
        return Response()
    return None


def _draw(drawing: dict[str, Any], reference: Image.Image | None, withheld: int) -> list[bytes]:
    seed = drawing.get("seed", secrets.randbits(32))
    size = pixels_of(drawing)
    label = f"{drawing.get('aspect_ratio', '')} {size[0]}x{size[1]}".strip()
    return [
        draw_jpeg(prompt=drawing["prompt"], seed=seed, index=index, size=size, label=label, reference=reference)
        for index in range(drawing["n"] - withheld)
    ]


def _answer(drawing: dict[str, Any], pictures: list[bytes], store: PictureStore) -> Response:
    if drawing["response_format"] == "base64":
        data = {"image_base64": [base64.b64encode(picture).decode() for picture in pictures]}
    else:
        data = {"image_urls": [url_for("picture", name=store.add(picture), _external=True) for picture in pictures]}
    # The counts are strings on MiniMax's wire, although its documentation calls them integers.
    counts = {"success_count": str(len(pictures)), "failed_count": str(drawing["n"] - len(pictures))}
    return _respond({"data": data, "metadata": counts, "base_resp": {"status_code": 0, "status_msg": "success"}})


def _respond(document: dict[str, Any]) -> Response:
    trace_id = uuid.uuid4().hex
    response = jsonify({"id": trace_id, **document})
    response.headers["Trace-Id"] = trace_id
    return response
