"""Objects in PostgreSQL: the rules of files and S3, but for an empty object, which is none."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.errors import DatabaseUnavailable
from app.objects.store import ObjectStore
from app.storage.database import Database
from app.storage.postgresql_objects import PostgresqlObjects
from tests.objects import test_objects as rules
from tests.support.databases import ScratchDatabase

pytestmark = pytest.mark.parametrize("test_db", ["postgresql"], indirect=True)
Rule = Callable[[ObjectStore], None]
RULES: list[Rule] = [
    rules.test_a_second_write_replaces_the_first,
    rules.test_a_missing_object_is_reported_at_once,
    rules.test_a_writer_that_fails_leaves_nothing,
    rules.test_old_names,
    lambda store: rules.test_an_object_is_read_as_it_was_written(store, b"small"),
    lambda store: rules.test_an_object_is_read_as_it_was_written(store, rules.LARGE),
    lambda store: rules.test_an_object_of_another_size_is_not_stored(store, [b"12"]),
    lambda store: rules.test_an_object_of_another_size_is_not_stored(store, [b"1234", b"5"]),
    lambda store: rules.test_a_name_leads_nowhere_else(store, "a/b"),
]


@pytest.fixture
def store(database: Database) -> PostgresqlObjects:
    return PostgresqlObjects(database)


@pytest.mark.parametrize("rule", RULES, ids=range(len(RULES)))
def test_a_rule_of_all_object_stores(store: PostgresqlObjects, rule: Rule) -> None:
    rule(store)


def test_readers_hold_no_connection_between_chunks(store: PostgresqlObjects) -> None:
    """More of them than the pool has connections."""
    store.write("a", [b"1", b"2"], 2)
    readers = [store.read("a") for _ in range(20)]
    assert [next(reader) for reader in readers] == [b"1"] * 20
    with ThreadPoolExecutor(20) as threads:
        assert list(threads.map(lambda reader: b"".join(reader), readers)) == [b"2"] * 20


def test_a_server_that_is_gone_is_unavailable(store: PostgresqlObjects, test_db: ScratchDatabase) -> None:
    store.write("a", [b"1"], 1)
    with test_db.outage():
        for operation in (lambda: store.write("b", [b"1"], 1), lambda: store.read("a"), lambda: store.delete("a")):
            with pytest.raises(DatabaseUnavailable):
                operation()
