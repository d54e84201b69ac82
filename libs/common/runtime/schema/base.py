"""Shared column types and the register of who writes which table."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import DateTime, MetaData, Numeric, Table, Uuid
from sqlalchemy.dialects.postgresql import JSONB

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Price: Final = Numeric(20, 8)
Quantity: Final = Numeric(20, 8)
Money: Final = Numeric(20, 4)
Instant: Final = DateTime(timezone=True)
Id: Final = Uuid(as_uuid=True)
Json: Final = JSONB(none_as_null=True)

# table name -> services that may write it. `append_only` tables are granted INSERT alone.
WRITERS: Final[dict[str, tuple[str, ...]]] = {}
APPEND_ONLY: Final[set[str]] = set()
# Tables of which a service may write some columns only: the columns of INSERT and of UPDATE.
COLUMNS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {}
# Tables that not every service may read -> who may, beside the writers.
PRIVATE: Final[dict[str, tuple[str, ...]]] = {}

# Functions that run with their owner's rights -> the services that may call them. A trigger's needs
# nobody: who writes the table needs no right to the function.
DEFINERS: Final[dict[str, tuple[str, ...]]] = {
    "ensure_month_partition": ("data_collector",),
    "ledger_apply": (),
}
# Who may make temporary tables.
TEMPORARY: Final = ("data_collector",)


def table(
    name: str,
    *parts: Any,
    writers: tuple[str, ...],
    append_only: bool = False,
    columns: tuple[tuple[str, ...], tuple[str, ...]] | None = None,
    private: bool = False,
    readers: tuple[str, ...] = (),
) -> Table:
    """Return a Table registered with its writing services; `columns` as in COLUMNS.

    A `private` one is read by its writers and `readers` only.
    """
    WRITERS[name] = writers
    if private:
        PRIVATE[name] = readers
    if columns is not None:
        COLUMNS[name] = columns
    if append_only:
        APPEND_ONLY.add(name)
    return Table(name, metadata, *parts)


def partitioned(
    name: str, *parts: Any, by: str, writers: tuple[str, ...], append_only: bool = False
) -> Table:
    """Return a Table partitioned by range of its time column `by`."""
    WRITERS[name] = writers
    if append_only:
        APPEND_ONLY.add(name)
    return Table(name, metadata, *parts, postgresql_partition_by=f"RANGE ({by})")
