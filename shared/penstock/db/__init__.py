"""PostgreSQL: the pool, transactions, failures, migrations and the coalescer. Only this package imports asyncpg."""

from penstock.db.coalescer import Coalescer, isolate
from penstock.db.failures import describe_duplicate
from penstock.db.pool import (
    Connection,
    Database,
    DataProblem,
    Record,
    Refused,
    UndefinedTable,
    UniqueViolation,
    give_way,
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
    "describe_duplicate",
    "give_way",
    "isolate",
    "open_database",
    "quote_identifier",
]
