"""Expired usage rows are deleted in batches, and queries of usage do not delay billing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from app.errors import UsageQueryLimit
from app.storage import usage
from app.storage.database import Database
from app.storage.times import now
from app.storage.usage import UsageStore
from tests.storage.conftest import MakeKey
from tests.storage.test_journal import usage_row
from tests.support.databases import ScratchDatabase


def test_expired_rows_are_deleted_in_batches(
    database: Database, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "DELETE_BATCH_SIZE", 2)
    store, key_id = UsageStore(database), make_key()
    for days in (1, 6, 8, 9, 10, 40, 50):
        store.add(usage_row(key_id, created_at=(now() - timedelta(days=days)).isoformat(), asked=days))
    assert [store.remove_older_than(7) for _ in range(4)] == [2, 2, 1, 0]
    today = now().date()
    assert [row.asked for row in store.rows(key_id, today - timedelta(days=99), today)] == [6, 1]


@pytest.mark.parametrize("test_db", ["postgresql"], indirect=True)
def test_concurrent_deletions_do_not_wait_for_each_other(
    test_db: ScratchDatabase, database: Database, make_key: MakeKey
) -> None:
    """A deadlock of two deletions would look like an unavailable database."""
    store, key_id = UsageStore(database), make_key()
    for days in (40, 50, 60):
        store.add(usage_row(key_id, created_at=(now() - timedelta(days=days)).isoformat(), asked=days))
    with psycopg.connect(test_db.url) as other:
        other.execute("DELETE FROM usage WHERE asked = 50")
        assert store.remove_older_than(30) == 2
    assert store.remove_older_than(30) == 0


def test_concurrent_queries_are_bounded(database: Database, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch) -> None:
    store, key_id, today = UsageStore(database), make_key(), now().date()
    released, reading = threading.Event(), threading.Semaphore(0)

    def slowly(*_arguments: Any) -> list[usage.Total]:
        reading.release()
        released.wait()
        return []

    with ThreadPoolExecutor(usage.MAX_CONCURRENT_QUERIES) as pool, monkeypatch.context() as slow:
        slow.setattr(store, "_totals", slowly)
        first = [pool.submit(store.totals, key_id, today, today) for _ in range(usage.MAX_CONCURRENT_QUERIES)]
        for _ in first:
            reading.acquire()
        with pytest.raises(UsageQueryLimit):
            store.totals(key_id, today, today)
        released.set()
        assert [one.result() for one in first] == [[], []]
    assert store.totals(key_id, today, today) == []
