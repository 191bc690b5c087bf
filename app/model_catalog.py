"""Known models: public id, MiniMax id and what each supports. Also the aspect ratios and the response formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ResponseFormat = Literal["url", "b64_json"]
RESPONSE_FORMATS: tuple[ResponseFormat, ...] = ("url", "b64_json")

# Aspect ratio to width and height in pixels, as MiniMax documents them.
PIXELS = {
    "1:1": (1024, 1024),
    "16:9": (1280, 720),
    "4:3": (1152, 864),
    "3:2": (1248, 832),
    "2:3": (832, 1248),
    "3:4": (864, 1152),
    "9:16": (720, 1280),
    "21:9": (1344, 576),
}
ASPECT_RATIOS = tuple(PIXELS)
DEFAULT_ASPECT_RATIO = "1:1"  # what MiniMax draws for a request without one
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
