"""Values of Python code as JSON: what steps take and what workflows return."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import pytest
from pydantic import BaseModel

from penstock.errors import Permanent
from penstock.sdk.values import Page, Response, Thing, to_json


class Size(StrEnum):
    """A size."""

    SMALL = "small"


class Line(BaseModel):
    """A line of an order."""

    at: datetime
    price: Decimal


NOON = datetime(2030, 1, 31, 12, tzinfo=timezone(timedelta(hours=1)))
THING = Thing({"_id": "1x1", "name": "a"}, "thing")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Size.SMALL, "small"), (NOON, "2030-01-31T11:00:00.000Z"), (timedelta(minutes=1), 60.0), (Decimal("1.50"), 1.5),
        (Decimal(3), 3),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"), ((1, [2]), [1, [2]]), ({"b"}, ["b"]), (THING,
        {"_id": "1x1", "name": "a"}),
        (Line(at=datetime(2030, 1, 1, tzinfo=UTC), price=Decimal(2)), {"at": "2030-01-01T00:00:00.000Z", "price": 2}),
        (Page([THING], None, 0), {"results": [{"_id": "1x1", "name": "a"}], "after": None, "remaining": 0}),
        (Response(200, {"x": "y"}, [1]), {"status": 200, "headers": {"x": "y"}, "body": [1]}),
        (
            Response(200, {}, None, {"file": "1"}),
            {"status": 200, "headers": {}, "body": None, "body_file": {"file": "1"}},
        ),
    ],
)  # fmt: skip
def test_what_python_code_has_is_written_as_json(value: object, expected: object) -> None:
    assert to_json(value, "it") == expected
    assert to_json({"in": [value]}, "it") == {"in": [expected]}


@pytest.mark.parametrize(
    "value", [object(), b"bytes", {1: 2}, NOON.replace(tzinfo=None)], ids=["object", "bytes", "key", "zone"]
)
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(Permanent, match="it"):
        to_json(value, "it")
