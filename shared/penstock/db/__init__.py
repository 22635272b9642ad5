"""PostgreSQL: the pool, transactions, failures, migrations and the coalescer. Only this package imports asyncpg."""

from penstock.db.coalescer import Coalescer, isolate
from penstock.db.pool import (
    Connection,
    Database,
    DataProblem,
    Record,
    Refused,
    UndefinedTable,
    UniqueViolation,
    open_database,
    quote_identifier,
)

__all__ = [
    "Coalescer",
    "Connection",
    "DataProblem",
    "Database",
    "Record",
    "Refused",
    "UndefinedTable",
    "UniqueViolation",
    "isolate",
    "open_database",
    "quote_identifier",
]
