"""Payloads as files: images, the stub's responses, each gateway's requests, and the expected strings."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import dataclass
from pathlib import Path

from bench.servers import Gateway

IMAGES = 4
IMAGE_BYTES = 1_572_864  # 1.5 MB; no padding in its base64
UPLOAD_BYTES = 10_000_000  # just under MiniMax's 10 MB
URL = "http://127.0.0.1/images/1.jpg"
BOUNDARY = "----------------bench"
_JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True)
class Call:
    """One kind of call. `response` names the stub's response: `small` (one URL) or `big` (images in base64)."""

    name: str
    wait_ms: int = 0
    response: str = "small"
    upload: bool = False

    @property
    def path(self) -> str:
        return "/v1/images/edits" if self.upload else "/v1/images/generations"

    def fields(self, model: str) -> dict[str, str | int]:
        big = self.response == "big"
        return {
            "model": model,
            "prompt": f"A lighthouse at dusk, wait={self.wait_ms} response={self.response}",
            "n": IMAGES if big else 1,
            "response_format": "b64_json" if big else "url",
        }


SMALL = Call("small")
PAUSED = Call("paused", wait_ms=50)
HELD = Call("held", wait_ms=8000)
BIG = Call("big", response="big")
UPLOAD = Call("upload", upload=True)
CALLS = (SMALL, PAUSED, HELD, BIG, UPLOAD)


def write_payloads(folder: Path) -> None:
    """Write the stub's files, `expected.small` and `expected.big`: one line per string to be found."""
    noise = random.Random(1)
    images = [_base64(_image(noise, IMAGE_BYTES)) for _ in range(IMAGES)]
    upload = _image(noise, UPLOAD_BYTES)
    texts = {
        "minimax.small": minimax_response("image_urls", [URL]),
        "minimax.big": minimax_response("image_base64", images),
        "openai.small": _openai("url", [URL]),
        "openai.big": _openai("b64_json", images),
        "expected.small": f"{URL}\n",
        "expected.big": "".join(f"{image}\n" for image in images),
        "upload.base64": _base64(upload),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "upload").write_bytes(upload)


def write_requests(folder: Path, gateway: Gateway) -> None:
    """Write `request.GATEWAY.CALL`, the whole request as sent over the wire, and `body.GATEWAY.CALL`, its body."""
    upload = (folder / "upload").read_bytes()
    for call in CALLS:
        fields = call.fields(gateway.model)
        body = _form(fields, upload) if call.upload else json.dumps(fields).encode()
        headers = request_headers(gateway, call) | {"Content-Length": str(len(body))}
        lines = [f"POST {call.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        (folder / f"body.{gateway.name}.{call.name}").write_bytes(body)
        (folder / f"request.{gateway.name}.{call.name}").write_bytes("\r\n".join(lines).encode() + body)


def request_headers(gateway: Gateway, call: Call) -> dict[str, str]:
    content_type = f"multipart/form-data; boundary={BOUNDARY}" if call.upload else "application/json"
    return {"Host": f"127.0.0.1:{gateway.port}", "Content-Type": content_type, **gateway.headers}


def _image(noise: random.Random, size: int) -> bytes:
    return _JPEG + noise.randbytes(size - len(_JPEG))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def minimax_response(key: str, images: list[str]) -> str:
    metadata = {"success_count": str(len(images)), "failed_count": "0"}
    status = {"status_code": 0, "status_msg": "success"}
    return json.dumps({"id": "bench", "data": {key: images}, "metadata": metadata, "base_resp": status})


def _openai(key: str, images: list[str]) -> str:
    return json.dumps({"created": 1_700_000_000, "data": [{key: image} for image in images]})


def _form(fields: dict[str, str | int], upload: bytes) -> bytes:
    parts = "".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    file = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="face.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return (parts + file).encode() + upload + f"\r\n--{BOUNDARY}--\r\n".encode()
