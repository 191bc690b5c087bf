"""`images …`: lists, deletes and purges the images that are kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Concatenate, ParamSpec

import click
from flask.cli import AppGroup, with_appcontext

from app.commands.output import OutputFormat, Row, output_options, print_json, print_rows
from app.commands.storage_context import settings
from app.errors import ImageNotFound, ImageStoreUnavailable
from app.image_store.create import create_image_store
from app.image_store.kept_images import KeptImages
from app.image_store.store import KeptImage
from app.objects.store import ObjectsUnavailable

P = ParamSpec("P")

COLUMNS = ("id", "caller", "format", "bytes", "created_at", "expires_at")

images = AppGroup("images", help="Images kept in AMUX_IMAGE_STORE.")


def with_images(command: Callable[Concatenate[KeptImages, P], None]) -> Callable[P, None]:
    """Decorator: passes the images as the first argument. Raises `click.ClickException` for an unavailable store."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        chosen = settings()
        if chosen.image_store is None:
            raise click.ClickException("AMUX_IMAGE_STORE must be set, as the gateway has it.")
        store = create_image_store(chosen.image_store, chosen.spool_folder)
        try:
            command(KeptImages(store, chosen.public_url, chosen.image_days), *args, **kwargs)
        except (ObjectsUnavailable, ImageStoreUnavailable) as error:
            cause = error.__cause__ or error
            raise click.ClickException(f"The image store is unavailable: {cause.__cause__ or cause}") from None

    return with_appcontext(run)


@images.command("list")
@output_options("json", "csv")
@with_images
def list_images(kept: KeptImages, output_format: OutputFormat | None) -> None:
    """Lists all images, the oldest first. S3 does not list `caller`, the fingerprint of the key that paid."""
    days = timedelta(days=settings().image_days)
    found = sorted(kept.all(), key=lambda image: (image.created, image.id))
    print_rows([_row(image, days) for image in found], output_format, COLUMNS)


@images.command()
@click.argument("image_id", metavar="ID")
@with_images
def delete(kept: KeptImages, image_id: str) -> None:
    """Deletes one image, whoever has paid for it. ID is the part of its URL before the dot."""
    try:
        kept.store.delete(kept.find(image_id))
    except ImageNotFound:
        raise click.ClickException("There is no such image, or it has expired.") from None
    click.echo(f"{image_id} is deleted.")


@images.command()
@output_options("json")
@with_images
def purge(kept: KeptImages, output_format: OutputFormat | None) -> None:
    """Removes expired images now; each worker of a gateway does so once an hour."""
    report = kept.purge()
    if output_format == "json":
        print_json(
            {
                "removed": report.removed,
                "removed_bytes": report.removed_bytes,
                "kept": report.kept,
                "kept_bytes": report.kept_bytes,
            }
        )
    else:
        click.echo(
            f"Removed: {report.removed} images, {report.removed_bytes} bytes. "
            f"Kept: {report.kept} images, {report.kept_bytes} bytes."
        )


def _row(image: KeptImage, days: timedelta) -> Row:
    created = datetime.fromtimestamp(image.created, UTC)
    return {
        "id": image.id,
        "caller": image.owner,
        "format": image.format.extension,
        "bytes": image.size,
        "created_at": created,
        "expires_at": created + days,
    }
