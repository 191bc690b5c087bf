"""Old rows of usage go, a bounded number at a time; the others stay."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.storage import usage
from app.storage.database import Database
from app.storage.tables import now
from app.storage.usage import UsageStore
from tests.storage.conftest import MakeKey
from tests.storage.test_journal import usage_row


def test_old_rows_are_removed_a_few_at_a_time(
    database: Database, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "MOST_REMOVED", 2)
    store, key_id = UsageStore(database), make_key()
    for days in (1, 6, 8, 9, 10, 40, 50):
        store.add(usage_row(key_id, created_at=(now() - timedelta(days=days)).isoformat(), asked=days))
    assert [store.remove_older_than(7) for _ in range(4)] == [2, 2, 1, 0]
    today = now().date()
    assert [row.asked for row in store.rows(key_id, today - timedelta(days=99), today)] == [6, 1]
