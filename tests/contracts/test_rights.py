"""Every table that a migration makes has its rights listed."""

import re

from penstock.db.migrations import list_migrations
from penstock.db.rights import TABLES


def test_a_table_that_a_migration_makes_is_listed_and_one_that_it_drops_is_not() -> None:
    made = set[str]()
    for migration in list_migrations():
        for verb, name, rest in re.findall(
            r"^\s*(CREATE|DROP) TABLE (?:IF (?:NOT )?EXISTS )?penstock\.(\w+)(.*)", migration.sql, re.MULTILINE
        ):
            if verb == "DROP":
                made.discard(name)
            elif "PARTITION OF" not in rest:
                made.add(name)
        for name, new in re.findall(r"ALTER TABLE penstock\.(\w+) RENAME TO (\w+)", migration.sql):
            made.discard(name)
            made.add(new)
    unlisted = sorted(made - TABLES.keys())
    assert unlisted == [], "name them in penstock/db/rights.py: what ingress, scheduler and executor do with them"
    partitions = {"logs_default", "deliveries_default"}
    assert sorted(TABLES.keys() - made - partitions) == []
