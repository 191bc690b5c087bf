"""Draws with the client that openapi-python-client has generated, and prints what came as one JSON line.

Arguments: the gateway's URL, an API key, and the path of a reference image.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gateway_client import AuthenticatedClient
from gateway_client.api.images import create_image, create_image_edit
from gateway_client.api.models import list_models
from gateway_client.api.tasks import create_image_task, get_task
from gateway_client.models import Error, ImageForm, ImageRequest, ImageRequestAspectRatioType1
from gateway_client.types import File

MODEL = "MiniMax-Image-01"


def main(url: str, api_key: str, face: Path) -> None:
    client = AuthenticatedClient(base_url=url, token=api_key)
    wide = ImageRequest(model=MODEL, prompt="A lighthouse at dusk", aspect_ratio=ImageRequestAspectRatioType1("16:9"))
    drawn = create_image.sync(client=client, body=wide)
    with face.open("rb") as file:
        form = ImageForm(model=MODEL, prompt="The same face", n=2, image=File(file, face.name, "image/jpeg"))
        edited = create_image_edit.sync(client=client, body=form)
    begun = create_image_task.sync(client=client, body=wide)
    task = get_task.sync(begun.id, client=client, wait=20)
    rejected = create_image.sync(client=client, body=ImageRequest(model=MODEL, prompt="sandbox:1026"))
    assert isinstance(rejected, Error)
    print(
        json.dumps(
            {
                "drawn": [image.url for image in drawn.data],
                "edited": [image.url for image in edited.data],
                "task": [image.url for image in task.result.data],
                "rejected": rejected.error.code,
                "models": [model.id for model in list_models.sync(client=client).data],
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
