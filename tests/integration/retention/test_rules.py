"""Every table has a rule that says how long its rows stay, and the page on retention has the same ones.

Run as a module, it writes the table into the page: `python -m tests.integration.retention.test_rules`.
"""

from pathlib import Path

from penstock.db import Database
from penstock.store.retention import RULES

PAGE = Path(__file__).parents[3] / "docs" / "retention.md"
_HEAD = "| table | rows are kept |\n|---|---|\n"


def write_table() -> str:
    """The table of the page: what grows with what has happened first."""
    order = {"ended": 0, "short": 1, "bounded": 2}
    rules = sorted(RULES.items(), key=lambda item: order[item[1].growth])
    return _HEAD + "".join(f"| `{name}` | {rule.kept} |\n" for name, rule in rules)


async def test_every_table_has_a_rule(database: Database) -> None:
    async with database.connection() as conn:
        rows = await conn.fetch(
            """
            SELECT c.relname::text AS name FROM pg_class c
            WHERE c.relnamespace = 'penstock'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            """
        )
    assert {row["name"] for row in rows} == set(RULES)


def test_the_page_has_the_rules() -> None:
    assert write_table() in PAGE.read_text("utf-8"), f"run python -m {__spec__.name}"


if __name__ == "__main__":
    before, _, rest = PAGE.read_text("utf-8").partition(_HEAD)
    after = "\n".join(line for line in rest.split("\n") if not line.startswith("| `"))
    PAGE.write_text(
        f"{before}{write_table()}{after.lstrip()}" if after.strip() else f"{before}{write_table()}", "utf-8"
    )
