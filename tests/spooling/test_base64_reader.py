"""Base64 is decoded in chunks, wherever their borders fall."""

from __future__ import annotations

import base64
import os
from contextlib import closing

import pytest

from app.spooling.base64_reader import decoded_chunks, decoded_head, decoded_size
from app.spooling.spool import CHUNK_BYTES, Spool
from app.spooling.spooled_text import SpooledText

DATA = os.urandom(CHUNK_BYTES)
SIZES = [0, 1, 2, 3, 12, 13, CHUNK_BYTES // 4 * 3 - 1, CHUNK_BYTES // 4 * 3, CHUNK_BYTES // 4 * 3 + 1, CHUNK_BYTES]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("prefix", ["", "12345"], ids=["aligned", "not aligned"])
@pytest.mark.parametrize("spooled", [True, False], ids=["spooled", "string"])
def test_the_bytes_come_back(size: int, spooled: bool, prefix: str) -> None:
    encoded = base64.b64encode(DATA[:size])
    with closing(Spool()) as spool:
        spool.write(prefix.encode() + encoded)
        text = SpooledText(spool, len(prefix), len(encoded)) if spooled else encoded.decode()
        assert b"".join(decoded_chunks(text)) == DATA[:size]
        assert decoded_size(text) == size
        assert decoded_head(text, 12) == DATA[: min(size, 12)]
