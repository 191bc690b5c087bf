"""A test client that ends each response, as a server does: what a call holds is then freed."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask.testing import FlaskClient


class EndingClient(FlaskClient):
    def open(self, *args: Any, **kwargs: Any) -> Any:
        return super().open(*args, **{"buffered": True} | kwargs)


def client_of(app: Flask) -> FlaskClient:
    return EndingClient(app, app.response_class)
