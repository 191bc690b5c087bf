"""Checks of requests and responses against the OpenAPI document of a gateway."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jsonschema import Draft202012Validator

REQUEST_SCHEMAS = ("ImageRequest", "ImageForm", "Reference")
METHODS = ("get", "post", "delete", "put", "patch")
# Headers of HTTP itself, which each server sends, and of the body, which the document has as its content.
OF_HTTP = {"date", "server", "connection", "transfer-encoding", "content-type", "content-length"}


@dataclass(frozen=True)
class Answer:
    """A response, of whichever client. `body` is the JSON in it, None for another type."""

    status: int
    headers: Mapping[str, str]
    body: Any = None


@dataclass(frozen=True)
class Document:
    spec: dict[str, Any]

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Method, path and description of each operation."""
        for path, item in self.spec["paths"].items():
            for method in METHODS:
                if method in item:
                    yield method.upper(), path, item[method]

    def operation(self, method: str, path: str) -> dict[str, Any]:
        """The operation of a request to `path`, without its query. Literal paths take precedence over templates."""
        found = [
            described
            for known, template, described in self.operations()
            if known == method and re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path)
        ]
        return min(found, key=lambda described: sum(name["in"] == "path" for name in self.parameters(described)))

    def parameters(self, operation: dict[str, Any]) -> list[dict[str, Any]]:
        return [self.resolve(parameter) for parameter in operation["parameters"]]

    def resolve(self, described: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in described:
            return described
        found: Any = self.spec
        for name in described["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        resolved: dict[str, Any] = found
        return resolved

    def faults(self, schema: Mapping[str, Any], value: Any) -> list[str]:
        """What is wrong with `value`. A field that is not documented is a fault in a response."""
        whole = dict(schema) | {"components": self._strict["components"]}
        return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(whole).iter_errors(value)]

    def check(self, method: str, path: str, answer: Answer) -> None:
        """Fail unless the document has this response: its status, its type, its body, its headers, and its code."""
        responses = self.operation(method, path)["responses"]
        assert str(answer.status) in responses, f"{method} {path} has no response {answer.status}: {answer.body}"
        response = self.resolve(responses[str(answer.status)])
        self._check_headers(response, answer)
        content = response.get("content", {})
        content_type = answer.headers.get("Content-Type", "").partition(";")[0]
        assert content_type in content or not content, f"{content_type} is not in {sorted(content)}"
        if content_type == "application/json":
            assert self.faults(content[content_type]["schema"], answer.body) == []
        if "x-errorCodes" in response:
            self._check_code(response, answer)

    def _check_headers(self, response: dict[str, Any], answer: Answer) -> None:
        documented = {name.lower() for name in response["headers"]}
        sent = {name.lower() for name in answer.headers}
        assert sent <= documented | OF_HTTP, f"not documented: {sorted(sent - documented - OF_HTTP)}"
        for name in documented:
            header = self.resolve(response["headers"][name])
            assert name in sent or not header.get("required"), f"{name} is missing"

    def _check_code(self, response: dict[str, Any], answer: Answer) -> None:
        code = answer.body["error"]["code"]
        table = self.spec["x-errorCodes"]
        code = "any other number" if code.isdecimal() and code not in table else code
        assert code in response["x-errorCodes"]
        entry = table[code]
        assert entry["status"] == answer.status
        outcomes = {entry["should_retry"], entry["should_retry"] and "retry_exception" not in entry}
        assert answer.headers["x-should-retry"] in {str(each).lower() for each in outcomes}

    @cached_property
    def _strict(self) -> dict[str, Any]:
        spec = copy.deepcopy(self.spec)
        for name, schema in spec["components"]["schemas"].items():
            if name not in REQUEST_SCHEMAS:
                schema["additionalProperties"] = False
        return spec
