"""Texts that a spreadsheet would run as a formula: out of the database and back."""

import csv
import io

import pytest

from penstock.db import Database
from penstock.things.records import create_things
from tests.factories import build_thing
from tests.integration.exports_and_imports.orders import EVERYTHING, export, import_orders, numbers

FORMULAS = [f"{quotes}{start}1+1" for start in "=+-@\t\r\n＝＋－＠" for quotes in ("", "'", "''")]
HARMLESS = ["'", "''x", "' =1", " =1", "x=1", "’=1"]


@pytest.mark.parametrize("is_raw", [False, True])
async def test_texts_like_formulas_are_guarded_from_spreadsheets_and_imported_unchanged(
    orders: Database, is_raw: bool
) -> None:
    texts = sorted([*FORMULAS, *HARMLESS])
    async with orders.connection() as conn:
        things = [build_thing(number=text, total=-1, place={"address": "=1"}) for text in texts]
        await create_things(conn, environment="live", data_type=EVERYTHING, things=things)
    exported = await export(orders, environment="live", is_raw=is_raw)
    cells = [row["number"] for row in csv.DictReader(io.StringIO(exported.decode(), newline=""))]
    assert sorted(cells) == sorted(texts if is_raw else [*(f"'{text}" for text in FORMULAS), *HARMLESS])
    assert b",-1," in exported, "a number stays a number"
    result = await import_orders(orders, exported, is_raw=is_raw)
    assert result.created == len(texts), result.bad_lines
    assert sorted(number for number, _ in await numbers(orders)) == texts
