"""Removes expired images once an hour, and measures what is kept."""

from __future__ import annotations

import logging
import random
import threading

from app import metrics
from app.image_store.kept_images import KeptImages, PurgeReport
from app.objects.store import ObjectsUnavailable

log = logging.getLogger(__name__)

FIRST_RUN_SECONDS = 60.0
INTERVAL_SECONDS = 3600.0


class ImageMaintenance:
    """Every worker process runs it. Several may run at once."""

    def __init__(self, kept_images: KeptImages) -> None:
        self._kept_images = kept_images

    def start(self) -> None:
        """Run in a daemon thread of this process."""
        threading.Thread(target=self._run_forever, name="image maintenance", daemon=True).start()

    def run(self) -> PurgeReport:
        """Remove expired images and set the metrics. Raises `ObjectsUnavailable`."""
        report = self._kept_images.purge()
        metrics.IMAGES_KEPT_BYTES.set(report.kept_bytes)
        metrics.IMAGES_KEPT_OLDEST.set(report.oldest_seconds)
        return report

    def _run_forever(self) -> None:
        pause = threading.Event()
        # Spread out: all workers of all instances may have been started together.
        seconds = random.uniform(0, FIRST_RUN_SECONDS)  # noqa: S311
        while not pause.wait(seconds):
            seconds = INTERVAL_SECONDS * random.uniform(1, 1.2)  # noqa: S311
            try:
                report = self.run()
                if report.removed:
                    log.info("Removed %d expired images, %d bytes", report.removed, report.removed_bytes)
            except ObjectsUnavailable:
                log.warning("Expired images could not be removed: the image store is unavailable")
            except Exception:  # the thread must survive any failure
                log.exception("Removing expired images failed")
