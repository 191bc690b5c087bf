"""Known models: public id, MiniMax id and what each supports. Also the response formats that a caller may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ResponseFormat = Literal["url", "b64_json"]
RESPONSE_FORMATS: tuple[ResponseFormat, ...] = ("url", "b64_json")

ASPECT_RATIOS = ("1:1", "16:9", "4:3", "3:2", "2:3", "3:4", "9:16", "21:9")
DIMENSIONS = range(512, 2048 + 1, 8)  # values of width and height in pixels, for models that support dimensions


@dataclass(frozen=True)
class Model:
    """`id` is the public name, `upstream_id` the name that MiniMax is sent.

    `supports_edits` says whether `/v1/images/edits` serves the model, `supports_dimensions` whether MiniMax takes
    `width` and `height` for it. Source: MiniMax's reference of `POST /v1/image_generation`.
    """

    id: str
    upstream_id: str
    aspect_ratios: tuple[str, ...]
    supports_edits: bool
    supports_dimensions: bool


@dataclass(frozen=True)
class ModelAlias:
    """Another name for `model`. `response_format` is the default for requests by this name, None if it has none."""

    model: Model
    response_format: ResponseFormat | None = None


IMAGE_01 = Model(
    id="MiniMax-Image-01",
    upstream_id="image-01",
    aspect_ratios=ASPECT_RATIOS,
    supports_edits=True,
    supports_dimensions=True,
)
IMAGE_01_LIVE = Model(
    id="MiniMax-Image-01-live",
    upstream_id="image-01-live",
    aspect_ratios=tuple(ratio for ratio in ASPECT_RATIOS if ratio != "21:9"),
    supports_edits=False,
    supports_dimensions=False,
)
MODELS = (IMAGE_01, IMAGE_01_LIVE)

_BY_NAME = {name.lower(): model for model in MODELS for name in (model.id, model.upstream_id)}


def find_model(name: str, aliases: Mapping[str, ModelAlias] | None = None) -> Model | None:
    """Return the model with that id, upstream id or alias, ignoring case. `aliases` has lower case keys."""
    lowered = name.lower()
    alias = (aliases or {}).get(lowered)
    return _BY_NAME.get(lowered) or (alias.model if alias else None)
