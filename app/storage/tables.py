"""Tables: API keys, reservations, the ledger and usage. All money is in integer micro-units."""

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
from app.storage.times import now

# SQLite generates ids only in a column of type INTEGER.
BigId = BigInteger().with_variant(Integer, "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """A `datetime` in UTC, on both sides: SQLite drops the time zone, and PostgreSQL returns its session's."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if isinstance(value, datetime):
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return None


class utc_day(FunctionElement[str]):  # noqa: N801 (a function, in SQL)
    """SQL function: the day of a `UtcDateTime` column in UTC, as text `YYYY-MM-DD` or a date."""

    inherit_cache = True


@compiles(utc_day)
def _sqlite_day(element: utc_day, compiler: Any, **options: Any) -> str:
    return f"date({compiler.process(element.clauses, **options)})"


@compiles(utc_day, "postgresql")
def _postgresql_day(element: utc_day, compiler: Any, **options: Any) -> str:
    # date() alone would give the day in the time zone of the session.
    return f"date(timezone('UTC', {compiler.process(element.clauses, **options)}))"


def between_days(column: Any, first: date, last: date) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Conditions for a `UtcDateTime` column: from the start of `first` to the end of `last`, in UTC."""
    begin = datetime.combine(first, time.min, UTC)
    return column >= begin, column <= datetime.combine(last, time.max, UTC)


class Base(DeclarativeBase):
    pass


class ApiKey(Base):
    """An API key of a caller.

    `models` are the ids that it may use, with commas between them; empty means all. The limits are those of
    `app.accounts.key_limits.KeyLimits`. `response_format` is the default for requests that send none. `balance` is in
    micro-units, without what is reserved; None means no limit.
    """

    __tablename__ = "api_keys"
    __table_args__ = (CheckConstraint("balance IS NULL OR balance >= 0", name="balance_not_negative"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    prefix: Mapped[str] = mapped_column(String(20), index=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    models: Mapped[str] = mapped_column(String(500), default="")
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
    """The highest cost of one call. Inserted before MiniMax is called.

    `state` is `open`, then the outcome that closed it: `settle`, `release` or `unknown`. `price` is in micro-units an
    image, for `pictures` images. `owner` is the id of the process that makes the call. `limited` is whether the key had
    a balance, from which the cost was taken.
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
    """One entry of the ledger. Entries are never changed, and the balance of a key is the sum of their `amount`.

    `kind` is `credit`, `reserve`, `settle`, `release` or `unknown`. `amount` is the change of the balance in
    micro-units, 0 for a key without one. `charged` is what the call cost in micro-units, also for such a key.
    `note` is the operator's, of a credit.
    """

    __tablename__ = "ledger"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key_id: Mapped[int] = mapped_column(ForeignKey("api_keys.id"), index=True)
    kind: Mapped[str] = mapped_column(String(10))
    amount: Mapped[int] = mapped_column(BigInteger)
    charged: Mapped[int] = mapped_column(BigInteger, default=0)
    request_id: Mapped[str] = mapped_column(String(128), default="")
    note: Mapped[str] = mapped_column(String(128), default="", server_default="")
    reservation_id: Mapped[str | None] = mapped_column(ForeignKey("reservations.id"))
    trace_id: Mapped[str | None] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class UsageRecord(Base):
    """One image request. It holds no prompt, image or URL.

    `asked` and `delivered` count images. `charged` is in micro-units. `status` is the HTTP status, `code` that of the
    error. `milliseconds` is the duration of the request. `taken` is how the answer was taken: a word of
    `app.metrics.WAYS`.
    """

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
    taken: Mapped[str] = mapped_column(String(20), default="connection", server_default="connection")
    trace_id: Mapped[str | None] = mapped_column(String(128))

    __table_args__ = (Index("ix_usage_key_time", "key_id", "created_at"),)


# For statements that every call waits for: on tables they cost half of what they cost on classes.
KEYS = cast(Table, ApiKey.__table__)
RESERVATIONS = cast(Table, ReservationRecord.__table__)
LEDGER = cast(Table, LedgerEntry.__table__)
USAGE = cast(Table, UsageRecord.__table__)
