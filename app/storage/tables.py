"""Owns the tables: keys, what they are charged, and what they did. Money is in integer micro-units everywhere."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, date, datetime, time
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from app.accounts.key_limits import KeyLimits
from app.model_catalog import ResponseFormat

# SQLite counts up by itself only in a column of its own INTEGER.
BigId = BigInteger().with_variant(Integer, "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time in UTC. SQLite forgets the zone, and PostgreSQL answers in its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if isinstance(value, datetime):
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return None


def now() -> datetime:
    return datetime.now(UTC)


class utc_day(FunctionElement[str]):  # noqa: N801 (a function, in SQL)
    """The day of a `UtcDateTime` in UTC."""

    inherit_cache = True


@compiles(utc_day)
def _sqlite_day(element: utc_day, compiler: Any, **options: Any) -> str:
    return f"date({compiler.process(element.clauses, **options)})"


@compiles(utc_day, "postgresql")
def _postgresql_day(element: utc_day, compiler: Any, **options: Any) -> str:
    # date() alone would be the day where the server thinks it is.
    return f"date(timezone('UTC', {compiler.process(element.clauses, **options)}))"


def between_days(column: Any, first: date, last: date) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """From the beginning of `first` to the end of `last`, in UTC."""
    begin = datetime.combine(first, time.min, UTC)
    return column >= begin, column <= datetime.combine(last, time.max, UTC)


class Base(DeclarativeBase):
    pass


class ApiKey(Base):
    """A caller. `balance` is None for one without a limit; what is reserved is no longer in it."""

    __tablename__ = "api_keys"
    __table_args__ = (CheckConstraint("balance IS NULL OR balance >= 0", name="balance_not_negative"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    prefix: Mapped[str] = mapped_column(String(20), index=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    models: Mapped[str] = mapped_column(String(500), default="")  # ids with commas between them; empty means all
    requests_per_minute: Mapped[int | None]
    images_per_minute: Mapped[int | None]
    max_calls: Mapped[int | None]
    response_format: Mapped[ResponseFormat | None] = mapped_column(String(10))
    balance: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    @property
    def limits(self) -> KeyLimits:
        return KeyLimits(**{field.name: getattr(self, field.name) for field in fields(KeyLimits)})


class ReservationRecord(Base):
    """What one call may cost, from before MiniMax is called until its outcome is known.

    `state` is open, and then how it ended: settle, release or unknown. `limited` is whether the key had a balance.
    """

    __tablename__ = "reservations"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    key_id: Mapped[int] = mapped_column(ForeignKey("api_keys.id"), index=True)
    request_id: Mapped[str] = mapped_column(String(128))
    owner: Mapped[str] = mapped_column(String(200))
    price: Mapped[int] = mapped_column(BigInteger)
    pictures: Mapped[int]
    limited: Mapped[bool]
    state: Mapped[str] = mapped_column(String(10), default="open")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)

    __table_args__ = (Index("ix_reservations_open", "state", "created_at"),)


class LedgerEntry(Base):
    """One line of the ledger, never changed. A key's balance is the sum of its `amount`s."""

    __tablename__ = "ledger"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key_id: Mapped[int] = mapped_column(ForeignKey("api_keys.id"), index=True)
    kind: Mapped[str] = mapped_column(String(10))  # credit, reserve, settle, release, unknown
    amount: Mapped[int] = mapped_column(BigInteger)
    charged: Mapped[int] = mapped_column(BigInteger, default=0)
    request_id: Mapped[str] = mapped_column(String(128), default="")
    note: Mapped[str] = mapped_column(String(128), default="", server_default="")  # the operator's, of a credit
    reservation_id: Mapped[str | None] = mapped_column(ForeignKey("reservations.id"))
    trace_id: Mapped[str | None] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class UsageRecord(Base):
    """One request. No prompt, picture or URL."""

    __tablename__ = "usage"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    key_id: Mapped[int] = mapped_column(ForeignKey("api_keys.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, index=True)
    request_id: Mapped[str] = mapped_column(String(128))
    endpoint: Mapped[str] = mapped_column(String(100))
    model: Mapped[str | None] = mapped_column(String(100))
    asked: Mapped[int] = mapped_column(default=0)
    delivered: Mapped[int] = mapped_column(default=0)
    charged: Mapped[int] = mapped_column(BigInteger, default=0)
    status: Mapped[int]
    code: Mapped[str | None] = mapped_column(String(100))
    milliseconds: Mapped[int]
    trace_id: Mapped[str | None] = mapped_column(String(128))

    __table_args__ = (Index("ix_usage_key_time", "key_id", "created_at"),)


# For what every call waits for: statements on tables cost half of those on classes.
KEYS = cast(Table, ApiKey.__table__)
RESERVATIONS = cast(Table, ReservationRecord.__table__)
LEDGER = cast(Table, LedgerEntry.__table__)
USAGE = cast(Table, UsageRecord.__table__)
