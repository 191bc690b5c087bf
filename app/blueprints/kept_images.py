"""`GET /images/{id}.jpg`, which needs no API key, and `DELETE /v1/images/{id}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from flask import Blueprint, Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import PreconditionFailed

from app.errors import ImageNotFound, ImageStoreUnavailable
from app.image_store.kept_images import KeptImages
from app.image_store.maintenance import ImageMaintenance
from app.image_store.store import KeptImage
from app.objects.store import ObjectMissing, ObjectsUnavailable
from app.web.byte_range import applicable_range
from app.web.request_context import current_context

SIGNED_URL_SECONDS = 3600
REDIRECT_SECONDS = 3000  # a cached redirect must not outlive the URL that it leads to
ACCEL_PREFIX = Path("/amux-images")  # the internal location in deploy/nginx.conf


def register_kept_images(
    app: Flask, kept_images: KeptImages, authenticate: Callable[[], None], *, accel: bool = False
) -> None:
    """Register both routes, and `app.extensions["image_maintenance"]`, which gunicorn.conf.py starts.

    With `accel`, nginx sends files: responses name them in `X-Accel-Redirect`.
    """
    images = Blueprint("kept_images", __name__, url_prefix="/v1/images")
    images.before_request(authenticate)

    @images.delete("/<string(length=32):image_id>")
    def delete(image_id: str) -> ResponseReturnValue:
        kept_images.delete(image_id, current_context().known_caller.fingerprint)
        return jsonify({"id": image_id, "object": "image", "deleted": True})

    @app.get("/images/<name>")
    def show_image(name: str) -> ResponseReturnValue:
        image = kept_images.find(name.partition(".")[0])
        if image.name != name:
            raise ImageNotFound
        try:
            return _send(image, kept_images, accel)
        except ObjectMissing:  # deleted since
            raise ImageNotFound from None
        except ObjectsUnavailable as error:
            raise ImageStoreUnavailable from error

    app.register_blueprint(images)
    app.extensions["image_maintenance"] = ImageMaintenance(kept_images)


def _send(image: KeptImage, kept_images: KeptImages, accel: bool) -> Response:
    store, seconds = kept_images.store, kept_images.seconds_left(image)
    cache_control = f"private, max-age={seconds}, immutable"
    if url := store.signed_url(image, SIGNED_URL_SECONDS, request.method, cache_control):
        return _response(image, f"private, max-age={min(seconds, REDIRECT_SECONDS)}", 302, {"Location": url})
    if accel and (path := store.path(image)):
        return _response(image, cache_control, headers={"X-Accel-Redirect": str(ACCEL_PREFIX / path)})
    response = _response(image, cache_control)
    # Without gunicorn's file wrapper: its sendfile would pass by the deadlines of the client's socket.
    response.response = store.read(image)
    response.content_length = image.size
    response.last_modified = datetime.fromtimestamp(image.created, UTC)
    response.set_etag(image.id)
    try:
        _apply_conditions(response, image.size)
    except BaseException:  # 412 or 416
        response.close()
        raise
    return response


def _apply_conditions(response: Response, size: int) -> None:
    """Make it a 304 or 206 where the request asks for that. Raises werkzeug's exceptions of 412 and 416."""
    response.accept_ranges = "bytes"
    response.make_conditional(request)
    if response.status_code == 412:
        raise PreconditionFailed("The image has another ETag than If-Match has.")
    chosen = applicable_range(request.method, request.headers.get("Range"), size)
    if response.status_code == 200 and chosen is not None:
        response.make_conditional(request.environ | {"HTTP_RANGE": chosen}, accept_ranges=True, complete_length=size)


def _response(
    image: KeptImage, cache_control: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    response = Response(status=status, content_type=image.format.content_type, headers=headers)
    response.headers["Cache-Control"] = cache_control
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
