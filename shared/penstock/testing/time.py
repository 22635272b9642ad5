"""Time that a test moves: a database whose `clock_timestamp()`, `statement_timestamp()` and `now()` run ahead of the
server's.

Functions of these names, in a schema that is searched before PostgreSQL's own, add an offset that one row holds. So all
that reads the database's clock (what is due, leases, waits, recurrences, dates of things) moves at once, and the
product knows nothing of it. Whatever reads the machine's clock, such as the tolerance of a webhook's signature, stays.
"""

from datetime import timedelta
from typing import Final

from penstock.db import Connection

_FUNCTIONS: Final = ("clock_timestamp", "statement_timestamp", "now")


async def install_clock(conn: Connection) -> None:
    """Let this database's time be moved. Connections made before this continue with the server's.

    Before the migrations run, so that defaults of columns follow too. To be called again on a copy of a database that
    has it (CREATE DATABASE … TEMPLATE): the setting belongs to the database's name.
    """
    await conn.execute(
        """
        CREATE SCHEMA IF NOT EXISTS penstock_time;
        GRANT USAGE ON SCHEMA penstock_time TO PUBLIC;
        CREATE TABLE IF NOT EXISTS penstock_time.clock (is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
            ahead interval NOT NULL);
        INSERT INTO penstock_time.clock (ahead) VALUES ('0') ON CONFLICT DO NOTHING;
        GRANT SELECT ON penstock_time.clock TO PUBLIC;
        """
    )
    for name in _FUNCTIONS:
        volatility = (
            "VOLATILE" if name == "clock_timestamp" else "STABLE"
        )  # as PostgreSQL's own, or indexes are not used
        await conn.execute(
            f"""
            CREATE OR REPLACE FUNCTION penstock_time.{name}() RETURNS timestamptz LANGUAGE sql {volatility}
            AS $$ SELECT pg_catalog.{name}() + ahead FROM penstock_time.clock $$
            """
        )
    await conn.execute(
        """
        DO $$ BEGIN
            EXECUTE format('ALTER DATABASE %I SET search_path = penstock_time, pg_catalog, public', current_database());
        END $$
        """
    )


async def advance(conn: Connection, by: timedelta) -> None:
    """Move this database's time forward, from the next statement on. Raises ValueError for a step back: runs rely on
    time's direction.

    A lease that is held meanwhile expires, as if its executor had hung for as long: wait until nothing runs, unless
    that is the test.
    """
    if by < timedelta(0):
        raise ValueError(f"time goes forward only, and this is {by}")
    await conn.execute("UPDATE penstock_time.clock SET ahead = ahead + $1", by)
