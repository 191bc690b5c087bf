"""Known models: public id and MiniMax id. Also the response formats that a caller may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ResponseFormat = Literal["url", "b64_json"]
RESPONSE_FORMATS: tuple[ResponseFormat, ...] = ("url", "b64_json")


@dataclass(frozen=True)
class Model:
    """`id` is what callers write and see, `upstream_id` what MiniMax is sent."""

    id: str
    upstream_id: str


IMAGE_01 = Model("MiniMax-Image-01", "image-01")
IMAGE_01_LIVE = Model("MiniMax-Image-01-live", "image-01-live")
MODELS = (IMAGE_01, IMAGE_01_LIVE)

_BY_NAME = {name.lower(): model for model in MODELS for name in (model.id, model.upstream_id)}


def find_model(name: str, aliases: Mapping[str, Model] | None = None) -> Model | None:
    """The model that `name` means, whatever its case; `aliases` are keyed in lower case."""
    lowered = name.lower()
    return _BY_NAME.get(lowered) or (aliases or {}).get(lowered)
