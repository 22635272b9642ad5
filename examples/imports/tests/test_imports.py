"""The whole app: lists that are clean, that have bad lines, that are very long, and an executor that dies in the middle
of one.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from penstock.testing import AppUnderTest, open_app

APP = Path(__file__).parents[1]
HEADER = "sku,name,category,price,stock\n"


@pytest_asyncio.fixture
async def app() -> AsyncIterator[AppUnderTest]:
    """The app."""
    async with open_app(APP) as app:
        yield app


async def test_a_list_creates_changes_and_clears_products(app: AppUnderTest) -> None:
    await app.run(
        "import_price_list",
        {"supplier": "acme", "file": HEADER + "a,Anvil,tools,10,3\nb,Bolt,parts,0.5,100\nc,Cog,parts,2,7\n"},
    )
    run = await app.run(
        "import_price_list", {"supplier": "acme", "file": HEADER + "b,Bolt,parts,0.75,90\nd,Drill,tools,80,1\n"}
    )
    assert run.state == "succeeded", run.error
    products = {product["sku"]: (product["price"], product["stock"]) for product in await app.find("product")}
    assert products == {"a": (10, 0), "b": (0.75, 90), "c": (2, 0), "d": (80, 1)}
    assert run.output == ["acme: 1 new, 1 changed, 2 gone, 0 bad"]
    assert isinstance(run.result, dict)
    assert run.result["categories"] == [
        {"category": "parts", "count": 1, "sum_stock": 90, "avg_price": 0.75},
        {"category": "tools", "count": 1, "sum_stock": 1, "avg_price": 80},
    ]


async def test_bad_lines_are_kept_for_the_supplier_and_nothing_is_taken_to_be_gone(app: AppUnderTest) -> None:
    await app.run("import_price_list", {"supplier": "acme", "file": HEADER + "a,Anvil,tools,10,3\n"})
    run = await app.run(
        "import_price_list", {"supplier": "acme", "file": HEADER + "b,Bolt,parts,cheap,1\nc,Cog\nd,Drill,tools,80,1\n"}
    )
    assert run.state == "succeeded", run.error
    assert [product["sku"] for product in await app.find("product", {"stock": 0})] == []
    bad = await app.find("bad_line", sort="line")
    assert [(line["line"], line["message"]) for line in bad] == [
        (2, "field 'price': expected a number, got text"),
        (3, "it has 2 cells, and the first line names 5"),
    ]
    (record,) = await app.find("price_list", {"failed": 2})
    assert {line["price_list"] for line in bad} == {record["_id"]}


async def test_a_file_that_is_no_price_list_fails_the_run_with_what_is_expected(app: AppUnderTest) -> None:
    run = await app.run("import_price_list", {"supplier": "acme", "file": "code;value\na;1\n"})
    assert run.state == "failed"
    assert isinstance(run.error, dict)
    assert "type 'product' has no field 'code'; known are sku, name, category, price, stock" in str(
        run.error["message"]
    )
    assert await app.count("product") == 0


async def test_100_000_lines_survive_an_executor_that_dies(app: AppUnderTest) -> None:
    count = 100_000
    lines = "".join(f"S-{n},Product {n} of a long list,category {n % 10},{n % 100}.25,{n % 7}\n" for n in range(count))
    file = await app.upload("prices.csv", (HEADER + lines).encode())
    run_id = await app.start("import_price_list", {"supplier": "acme", "file": file})
    async with asyncio.timeout(60):
        while not await app.count("product"):  # until the first batch is there
            pass
    await app.crash_executor()
    run = await app.wait_for(run_id, within=120)
    assert run.state == "succeeded", run.error
    assert run.attempt > 1
    assert await app.count("product") == count
    (record,) = await app.find("price_list")
    assert (record["created"], record["updated"], record["failed"], record["gone"]) == (count, 0, 0, 0)


async def test_products_become_a_file_that_can_be_imported_again(app: AppUnderTest) -> None:
    await app.run(
        "import_price_list",
        {"supplier": "acme", "file": HEADER + 'a,"Anvil, ""big""",tools,10,3\nb,Bolt,parts,0.5,100\n'},
    )
    run = await app.run("export_products", {"category": "tools"})
    assert isinstance(run.result, dict)
    content = await app.download(run.result["file"])
    assert content.decode().splitlines()[1].endswith('a,"Anvil, ""big""",tools,10,3')
    again = await app.run("import_price_list", {"supplier": "acme", "file": run.result["file"]})
    assert again.output == ["acme: 0 new, 1 changed, 1 gone, 0 bad"]
