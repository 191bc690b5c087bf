"""What the document says of each field of an image request, beside the rules of its schema."""

from __future__ import annotations

TEXTS = {
    "model": "`MiniMax-Image-01` (case does not matter), `image-01`, or an alias of the operator's.",
    "prompt": "What to draw. Not only white space.",
    "n": "How many images to draw.",
    "size": "`WIDTHxHEIGHT` selects the aspect ratio; `auto` or nothing leaves it to `aspect_ratio`.",
    "aspect_ratio": "Takes precedence over `size`. `21:9` is not available for the live model.",
    "response_format": (
        "`base64` means `b64_json`. Its default is that of the API key, of the alias, or of the "
        "gateway. No effect with `stream`."
    ),
    "seed": "The same seed and prompt draw a similar image.",
    "prompt_optimizer": "Lets MiniMax rewrite the prompt.",
    "watermark": "Draws a watermark.",
    "aigc_watermark": "`watermark` under MiniMax's name.",
    "style": "An object with `style_type` and `style_weight`. A string, such as DALL-E's `vivid`, is ignored.",
    "style_type": "Manga, energetic, medieval or watercolor. image-01 ignores it.",
    "style_weight": "Needs `style_type`.",
    "subject_reference": "The reference image under MiniMax's name. One reference in all, in whatever spelling.",
    "image": (
        "The reference image, a JPEG or PNG under 10 MB: a URL that MiniMax fetches, or a data URL; in a form, a file. "
        "Edits need a reference, in one of its spellings."
    ),
    "images": "The reference image in OpenAI's format.",
    "width": "In pixels. Ignored, unless the operator forwards it; then both or neither, without `aspect_ratio`.",
    "height": "As `width`.",
    "extra_body": "Members count as fields of the body, which take precedence over them.",
    "stream": "The response is an event stream, with one event for each image.",
    "partial_images": "Ignored: MiniMax has no partial images.",
    "mask": "Not supported: MiniMax does not inpaint. Anything but null is an error.",
}
