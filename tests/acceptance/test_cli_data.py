"""`penstock data`: files into an installation and out of it, and that a resumed import repeats nothing."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from penstock.db import Database, open_database
from tests.acceptance.console import PENSTOCK, Outcome, clean_environment, penstock
from tests.eventually import eventually
from tests.site import deploy_files

ORDER = "type: order\nfields: {number: text, total: number, paid: boolean}\nunique: [number]\n"


class Shop:
    """An installation without services, with the type `order` in both environments, and a folder of files."""

    def __init__(self, url: str, database: Database, folder: Path) -> None:
        self.environment = clean_environment(PENSTOCK_DATABASE_URL=url)
        self.database = database
        self.folder = folder
        self.orders = folder / "orders.csv"
        self.report = folder / "orders.csv.report.jsonl"

    async def run(self, *arguments: str) -> Outcome:
        """`penstock data …` in the folder."""
        return await penstock("data", *arguments, environment=self.environment, directory=self.folder)

    async def count(self, environment: str = "development") -> int:
        """The orders there are."""
        async with self.database.connection() as conn:
            count: int = await conn.fetchval(f'SELECT count(*) FROM {environment}."order"')
        return count

    def bad_lines(self) -> dict[int, str]:
        """What the report says."""
        _, *lines = [orjson.loads(line) for line in self.report.read_bytes().splitlines()]
        return {line["line"]: line["message"] for line in lines}


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop in a database of the test's own."""
    database = await open_database(database_url, name="cli data tests", most=2)
    await deploy_files(database, {"app.yaml": "app: shop", "types/order.yaml": ORDER}, "development", "live")
    built = Shop(database_url, database, tmp_path)
    yield built
    await database.close()


async def test_what_one_environment_exports_the_other_imports(shop: Shop) -> None:
    shop.orders.write_text("number,total,paid\na,1.5,yes\nb,2,no\n")
    imported = await shop.run("import", "order", "orders.csv", "--environment", "live")
    assert (imported.code, imported.out, imported.err) == (0, "created 2, updated 0, failed 0\n", "")
    assert not shop.report.exists()
    exported = await shop.run("export", "order", "copy.jsonl", "-e", "live", "--json")
    assert exported.json == {"exported": 2, "file": "copy.jsonl"}
    copied = await shop.run("import", "order", "copy.jsonl", "--json")
    assert copied.json == {"created": 2, "updated": 0, "failed": 0, "report": None}
    printed = await shop.run("export", "order", "-")
    assert [line.split(",")[5:] for line in printed.out.splitlines()] == [
        ["number", "total", "paid"], ["a", "1.5", "true"], ["b", "2", "false"],
    ]  # fmt: skip
    changed = await shop.run("import", "order", "orders.csv", "--upsert", "number")
    assert changed.out == "created 0, updated 2, failed 0\n"
    assert not list(shop.folder.glob("*.part"))


async def test_bad_lines_are_reported_corrected_and_resumed(shop: Shop) -> None:
    shop.orders.write_text("number,total\na,1\nb,x\nc,3\nc,4\n")
    first = await shop.run("import", "order", "orders.csv")
    assert (first.code, first.out) == (1, "created 2, updated 0, failed 2\n")
    assert "2 lines were left out; orders.csv.report.jsonl names them" in first.err
    assert shop.bad_lines() == {
        3: "field 'total': expected a number, got text",
        5: "there is another thing with the same _id or number",
    }
    again = await shop.run("import", "order", "orders.csv")
    assert again.code == 1
    assert "continue with --resume, or remove it" in again.err
    shop.orders.write_text("number,total\nA,1\nb,2\nC,3\nc,4\n")
    second = await shop.run("import", "order", "orders.csv", "--resume", "--json")
    assert (second.code, second.json) == (
        1,
        {"created": 3, "updated": 0, "failed": 1, "report": "orders.csv.report.jsonl"},
    )
    assert list(shop.bad_lines()) == [5]
    shop.orders.write_text("number,total\nA,1\nb,2\nC,3\nd,4\n")
    third = await shop.run("import", "order", "orders.csv", "--resume")
    assert (third.code, third.out) == (0, "created 4, updated 0, failed 0\n")
    assert await shop.count() == 4
    assert not shop.report.exists()


async def test_a_killed_import_is_resumed_without_a_line_lost_or_doubled(shop: Shop) -> None:
    count = 60_000
    shop.orders.write_text(
        "total,paid\n" + "".join(f"{n},{'yes' if n % 10_000 else 'perhaps'}\n" for n in range(count))
    )
    process = await asyncio.create_subprocess_exec(
        *PENSTOCK,
        "data",
        "import",
        "order",
        "orders.csv",
        env=shop.environment,
        cwd=shop.folder,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await eventually(shop.count, within=60)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    assert shop.report.exists()
    assert await shop.count() < count - 6
    resumed = await shop.run("import", "order", "orders.csv", "--resume")
    assert resumed.out == f"created {count - 6}, updated 0, failed 6\n"
    assert list(shop.bad_lines()) == [2 + n for n in range(0, count, 10_000)]
    async with shop.database.connection() as conn:
        assert (
            await conn.fetchval('SELECT count(DISTINCT total) FROM development."order"')
            == await shop.count()
            == count - 6
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("import", "order", "orders.csv", "--resume"),
            "there is no orders.csv.report.jsonl, so nothing of this file is left",
        ),
        (
            ("import", "ordr", "orders.csv"),
            "there is no data type 'ordr' in development; did you mean 'order'?; known are order, user",
        ),
        (
            ("import", "order", "orders.csv"),
            "type 'order' has no field 'nmber'; did you mean 'number'?; known are number, total, paid",
        ),
        (
            ("import", "order", "orders.csv", "--upsert", "total"),
            "upsert by total: type 'order' needs these fields as one entry",
        ),
        (("export", "order", "nowhere/orders.csv"), "nowhere/orders.csv cannot be written"),
        (("export", "ordr", "copy.csv"), "there is no data type 'ordr' in development"),
    ],
)
async def test_what_cannot_be_done_is_said_in_a_line(shop: Shop, arguments: tuple[str, ...], message: str) -> None:
    shop.orders.write_text("nmber,total\na,1\n")
    outcome = await shop.run(*arguments)
    assert (outcome.code, outcome.err.count("\n")) == (1, 1), outcome
    assert message in outcome.err
    assert sorted(path.name for path in shop.folder.iterdir()) == ["orders.csv"], "nothing is left behind"


async def test_a_resumed_import_has_to_be_the_same(shop: Shop) -> None:
    shop.orders.write_text("number,total\na,x\n")
    await shop.run("import", "order", "orders.csv")
    elsewhere = await shop.run("import", "order", "orders.csv", "--resume", "-e", "live")
    assert "is of an import with environment development, not live" in elsewhere.err
    shop.orders.write_text("number,total\na,1\nb,2\n")
    longer = await shop.run("import", "order", "orders.csv", "--resume")
    assert "orders.csv had 2 lines and has 3 now; correct lines in place" in longer.err
    shop.report.write_text("mine")
    assert "is not the report of an import; move it away" in (await shop.run("import", "order", "orders.csv")).err
    unknown = await shop.run("export", "order", "-", "--format", "xlsx")
    assert unknown.code == 2
    assert await shop.count() == 0
