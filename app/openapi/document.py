"""Builds the OpenAPI document of the routes that a gateway has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from app.openapi.errors import EXTENSION, ErrorCode, code_table, error_responses, gateway_codes
from app.openapi.fields import configure
from app.openapi.guide import GUIDE, TAGS
from app.openapi.headers import HEADERS, PARAMETERS
from app.openapi.operations import OPERATIONS, Operation
from app.openapi.request_schemas import image_form, image_request
from app.openapi.response_schemas import RESPONSES, ImageSchema
from app.settings import Settings

VERSION = "1.0.0"
SECURITY = {"apiKey": {"type": "http", "scheme": "bearer", "description": "The API key that the operator gave you."}}
_IMPLICIT_METHODS = {"HEAD", "OPTIONS"}  # Flask adds them by itself
_ARGUMENT = re.compile(r"<(?:[^<>]*:)?([^<>:]+)>")


class Route(Protocol):
    """What the document needs of a werkzeug `Rule`."""

    endpoint: Any
    rule: str
    methods: set[str] | None


def build_document(routes: Iterable[Route], settings: Settings, upstream: Iterable[ErrorCode]) -> bytes:
    """The document as JSON. `upstream` are the codes of failed calls to MiniMax. Raises `KeyError` for a new route."""
    upstream = tuple(upstream)
    plugin = MarshmallowPlugin()
    spec = APISpec("amux image gateway", VERSION, "3.1.0", plugins=[plugin], info={"description": GUIDE})
    converter = configure(plugin)
    spec.components.schema("Image", {"minProperties": 1}, schema=ImageSchema)
    for name, schema in RESPONSES.items():
        spec.components.schema(name, schema=schema)
    spec.components.schema("ImageRequest", image_request(converter, settings))
    spec.components.schema("ImageForm", image_form(converter, settings))
    responses, references = _shared(error_responses(upstream))
    used = set()
    order = {endpoint: number for number, endpoint in enumerate(OPERATIONS)}
    for route in sorted(routes, key=lambda route: order[route.endpoint]):
        operation = OPERATIONS[route.endpoint]
        described = _operation(operation, references[operation.errors])
        methods = (route.methods or set()) - _IMPLICIT_METHODS
        spec.path(_ARGUMENT.sub(r"{\1}", route.rule), operations={method.lower(): described for method in methods})
        used.add(operation.tag)
    for name in (each for each in TAGS if each in used):
        spec.tag({"name": name, "description": TAGS[name]})
    document = spec.to_dict()
    document["components"] |= {
        "headers": HEADERS,
        "parameters": PARAMETERS,
        "responses": responses,
        "securitySchemes": SECURITY,
    }
    document[EXTENSION] = code_table((*gateway_codes(), *upstream))
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _shared(groups: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The distinct responses of all groups by name, and for each group a reference to one of them by status."""
    names: dict[str, str] = {}
    references: dict[str, dict[str, Any]] = {group: {} for group in groups}
    for group, responses in groups.items():
        for status, response in responses.items():
            name = names.setdefault(json.dumps(response), f"{group}{status}")
            references[group][status] = {"$ref": f"#/components/responses/{name}"}
    return {name: json.loads(response) for response, name in names.items()}, references


def _operation(operation: Operation, errors: Mapping[str, Any]) -> dict[str, Any]:
    failures = {status: response for status, response in errors.items() if status not in operation.responses}
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": list(operation.parameters),
        "responses": {**operation.responses, **failures},
        "security": [] if operation.public else [{name: []} for name in SECURITY],
    }
    if operation.description:
        described["description"] = operation.description
    if operation.body:
        described["requestBody"] = {"required": True, "content": dict(operation.body)}
    return described
