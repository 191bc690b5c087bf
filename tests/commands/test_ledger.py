"""`ledger …`: list, check and sweep."""

from __future__ import annotations

import csv
import uuid
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from app.storage.api_keys import ApiKeyStore
from app.storage.database import Database
from app.storage.journal import Journal
from app.storage.ledger import Ledger
from app.storage.process_identity import process_id
from app.storage.reservations import Reservation, Settlement
from app.storage.tables import LEDGER
from tests.commands.conftest import Operator, document, failure, operator_of, printed
from tests.support.databases import ScratchDatabase

GONE = process_id().rpartition("/")[0] + "/1"  # of the same pid, started at another time


@pytest.fixture
def key_id(database: Database) -> int:
    keys = ApiKeyStore(database)
    keys.create("harbour", balance=1000)
    return keys.get("harbour").id


def reserve(database: Database, key_id: int, request_id: str, owner: str = "elsewhere/1/1") -> str:
    reservation_id = uuid.uuid4().hex
    Ledger(database).reserve(Reservation(reservation_id, key_id, request_id, owner, images=2, price=100))
    return reservation_id


def test_entries_are_listed_in_order(operator: Operator, database: Database, key_id: int) -> None:
    ApiKeyStore(database).create("pass", balance=7)
    Ledger(database).close_reservation(Settlement(reserve(database, key_id, "request-1"), "settle", 1, "trace-1"))
    Ledger(database).close_reservation(
        Settlement(reserve(database, key_id, "request-2"), "unknown", trace_id="trace-2")
    )

    rows = list(csv.reader(printed(operator("ledger", "list", "--csv")).splitlines()))
    assert rows[0] == ["created_at", "key", "kind", "amount", "charged", "request_id", "trace_id", "note"]
    assert [row[1:] for row in rows[1:]] == [
        ["harbour", "credit", "1000", "0", "", "", "created"],
        ["pass", "credit", "7", "0", "", "", "created"],
        ["harbour", "reserve", "-200", "0", "request-1", "", ""],
        ["harbour", "settle", "100", "100", "request-1", "trace-1", ""],
        ["harbour", "reserve", "-200", "0", "request-2", "", ""],
        ["harbour", "unknown", "200", "0", "request-2", "trace-2", ""],
    ]
    assert len(document(operator("ledger", "list", "--key", "harbour", "--json"))) == 5
    [unknown] = document(operator("ledger", "list", "--kind", "unknown", "--json"))
    assert (unknown["request_id"], unknown["trace_id"]) == ("request-2", "trace-2")
    assert printed(operator("ledger", "list", "--kind", "release")).count("\n") == 1  # the heading


def test_days_are_in_utc_and_inclusive(operator: Operator, database: Database, key_id: int) -> None:
    for moment in ("2026-01-30T23:59:59", "2026-01-31T00:00:00", "2026-02-01T23:59:59", "2026-02-02T00:00:00"):
        Ledger(database).credit(key_id, 1, note=moment)
        with database.connection() as connection:
            at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
            connection.execute(update(LEDGER).where(LEDGER.c.note == moment).values(created_at=at))
    found = document(operator("ledger", "list", "--start", "2026-01-31", "--end", "2026-02-01", "--json"))
    assert [entry["created_at"] for entry in found] == ["2026-01-31T00:00:00Z", "2026-02-01T23:59:59Z"]
    assert failure(operator("ledger", "list", "--start", "2026-02-01", "--end", "2026-01-31")) == (
        "--start must not come after --end."
    )
    assert document(operator("ledger", "list", "--end", "0001-01-01", "--json")) == []


def test_check_of_a_correct_ledger(operator: Operator, key_id: int) -> None:
    assert printed(operator("ledger", "check")) == "The ledger adds up.\n"
    assert document(operator("ledger", "check", "--json")) == []


ADVICE = (
    "These balances are not the sum of their entries. The gateway writes both in one transaction, so something "
    "else has changed the rows. Stop the gateways, make a backup, and read all entries of each key: "
    "ledger list --key NAME --start 2000-01-01\n"
)


def test_check_of_a_broken_ledger_lists_the_keys(operator: Operator, database: Database, key_id: int) -> None:
    ApiKeyStore(database).create("pass", balance=7)
    with database.connection() as connection:
        connection.execute(update(LEDGER).where(LEDGER.c.key_id == key_id).values(amount=999))
    result = operator("ledger", "check", "--json")
    assert (result.exit_code, result.stdout.replace("\n", "").replace(" ", "")) == (
        1,
        '[{"name":"harbour","balance":1000,"entries":999}]',
    )
    table = operator("ledger", "check")
    assert (result.stderr, table.stderr, table.exit_code) == (ADVICE, ADVICE, 1)
    assert [line.split() for line in table.stdout.splitlines()] == [
        ["name", "balance", "entries"],
        ["harbour", "1000", "999"],
    ]


def test_sweep_runs_maintenance(operator: Operator, database: Database, key_id: int, tmp_path: Path) -> None:
    reserve(database, key_id, "swept", owner=GONE)
    landing = reserve(database, key_id, "landed", owner=GONE)
    kept = reserve(database, key_id, "at work", owner=process_id())
    settled = Settlement(landing, "settle", 2, "trace-1")
    Journal(tmp_path / "journal").add("end", landing, asdict(settled), request_id="landed")

    assert printed(operator("ledger", "sweep")) == (
        "Replayed from the journal: 1. Kept, as they cannot be replayed: 0. Reservations now unknown: 1.\n"
    )
    assert document(operator("ledger", "sweep", "--json")) == {"landed": 0, "stuck": 0, "swept": 0}
    ended = {entry["request_id"]: entry["kind"] for entry in document(operator("ledger", "list", "--json"))}
    assert ended == {"": "credit", "swept": "unknown", "landed": "settle", "at work": "reserve"}
    assert Ledger(database).close_reservation(Settlement(kept, "release")) == (0, 800)


def test_sweep_without_the_journal_folder_is_an_error(
    database: Database, test_db: ScratchDatabase, tmp_path: Path
) -> None:
    said = failure(operator_of(test_db.url, tmp_path / "typo")("ledger", "sweep"))
    assert said == f"There is no folder {tmp_path / 'typo'}: set AMUX_JOURNAL_FOLDER as the gateway has it."


def test_default_period_is_thirty_days(operator: Operator, database: Database, key_id: int) -> None:
    old = datetime.now(UTC) - timedelta(days=31)
    with database.connection() as connection:
        connection.execute(update(LEDGER).values(created_at=old))
    assert document(operator("ledger", "list", "--json")) == []
    assert len(document(operator("ledger", "list", "--start", old.date().isoformat(), "--json"))) == 1
