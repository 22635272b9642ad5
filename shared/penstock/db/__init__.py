"""PostgreSQL: the pool, transactions and their failures, migrations, and the coalescer. Only this package imports
asyncpg.
"""

from penstock.db.coalescer import Coalescer
from penstock.db.pool import Connection, Database, Record, Refused, UniqueViolation, open_database, quote_identifier

__all__ = [
    "Coalescer",
    "Connection",
    "Database",
    "Record",
    "Refused",
    "UniqueViolation",
    "open_database",
    "quote_identifier",
]
