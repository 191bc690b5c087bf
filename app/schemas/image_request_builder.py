"""Builds the `ImageRequest` from a validated body: resolves defaults, and finds the fields without effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.model_catalog import Model, ResponseFormat
from app.schemas.aspect_ratio import ratio_of_size
from app.schemas.messages import ignored_names
from app.services.image_request import ImageRequest, Style


def build_image_request(
    data: Mapping[str, Any],
    model: Model,
    *,
    default_response_format: ResponseFormat,
    forward_dimensions: bool,
    unknown: set[str],
) -> ImageRequest:
    """Return the request that `data`, the schema's output, describes.

    `unknown` names the caller's fields that the schema does not have. They join `ImageRequest.ignored`, as do known
    fields that change nothing beside the others.
    """
    dimensions = forward_dimensions and "width" in data
    aspect_ratio = None if dimensions else _aspect_ratio(data, model)
    stream = data.get("stream", False)
    unused = {
        "size": dimensions or "aspect_ratio" in data or aspect_ratio is None,
        "width": not dimensions,
        "height": not dimensions,
        "response_format": stream,
        "partial_images": True,
    }
    return ImageRequest(
        model=model,
        prompt=data["prompt"],
        n=data["n"],
        response_format="b64_json" if stream else data.get("response_format", default_response_format),
        aspect_ratio=aspect_ratio,
        seed=data.get("seed"),
        prompt_optimizer=data.get("prompt_optimizer"),
        watermark=data.get("watermark"),
        style=Style(data["style_type"], data.get("style_weight")) if "style_type" in data else None,
        subject_reference=reference_of(data),
        width=data["width"] if dimensions else None,
        height=data["height"] if dimensions else None,
        stream=stream,
        ignored=ignored_names(unknown | {name for name in unused if name in data and unused[name]}),
    )


def _aspect_ratio(data: Mapping[str, Any], model: Model) -> str | None:
    """`aspect_ratio` as given, else the ratio of `size` if the model draws it."""
    if "aspect_ratio" in data:
        return str(data["aspect_ratio"])
    ratio = ratio_of_size(data["size"]) if "size" in data else None
    return ratio if ratio in model.aspect_ratios else None


def reference_of(data: Mapping[str, Any]) -> Any:
    """Return the reference image of `image` or `subject_reference`, a `str` or `SpooledText`, or None."""
    references = data.get("subject_reference")
    return references[0]["image_file"] if references else data.get("image")
