"""Streaming calls of openai-python, for tests/sdk/streams.py.

Reads calls from stdin, one JSON object a line, and writes what it saw of each as JSON lines: `{"head": true}` once the
stream is open, `{"event": {…}}` for each event, `{"error": {…}}` if the SDK raised one, and `{"end": true}`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from openai import APIError, APIStatusError, OpenAI


def write(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def run(call: dict[str, Any]) -> None:
    with OpenAI(base_url=call["base_url"], api_key=call["api_key"]) as client:
        arguments = {**call["fields"], "stream": True, "extra_headers": {"x-request-id": call["request_id"]}}
        if call["image"]:
            stream = client.images.edit(**arguments, image=Path(call["image"]))
        else:
            stream = client.images.generate(**arguments)
        with stream:
            write({"head": True})
            if call["leave"]:
                return
            for event in stream:
                image = base64.b64decode(event.b64_json, validate=True)
                write(
                    {
                        "event": {
                            "type": event.type,
                            "sha256": hashlib.sha256(image).hexdigest(),
                            "size": event.size,
                            "output_format": event.output_format,
                        }
                    }
                )


def error_of(error: APIError) -> dict[str, Any]:
    status = error.status_code if isinstance(error, APIStatusError) else None
    return {"kind": type(error).__name__, "status": status, "code": error.code, "message": error.message}


for line in sys.stdin:
    try:
        run(json.loads(line))
    except APIError as error:
        write({"error": error_of(error)})
    write({"end": True})
