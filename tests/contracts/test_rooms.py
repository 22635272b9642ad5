"""The three services are one house: their `app.py` differ in nouns only, and each opens its room in the same way."""

import difflib
import inspect
import re
from itertools import combinations
from pathlib import Path

import pytest

import penstock_executor.app
import penstock_executor.room
import penstock_ingress.app
import penstock_ingress.room
import penstock_scheduler.app
import penstock_scheduler.room

APPS = {
    "ingress": penstock_ingress.app,
    "scheduler": penstock_scheduler.app,
    "executor": penstock_executor.app,
}
ROOMS = (penstock_ingress.room, penstock_scheduler.room, penstock_executor.room)
NOUNS = re.compile(
    r"\b(?:an? )?(?:penstock_)?(?:ingress|scheduler|executor)|(?:Ingress|Scheduler|Executor)(?=Settings)"
)


def read_lines(name: str) -> list[str]:
    """The lines of a service's `app.py`, with one word in place of the service's own name."""
    source = Path(inspect.getfile(APPS[name])).read_text()
    return NOUNS.sub("SERVICE", source).splitlines()


@pytest.mark.parametrize(("one", "other"), list(combinations(APPS, 2)))
def test_the_apps_of_two_services_differ_in_nouns_only(one: str, other: str) -> None:
    ratio = difflib.SequenceMatcher(None, read_lines(one), read_lines(other), autojunk=False).ratio()
    assert ratio >= 0.7, f"penstock_{one}/app.py and penstock_{other}/app.py: {ratio:.2f}"


def test_every_room_is_opened_by_one_function_with_one_signature_and_ends_in_one_way() -> None:
    assert {tuple(inspect.signature(room.open_room).parameters) for room in ROOMS} == {
        ("settings", "resources", "stop")
    }
    for room in ROOMS:
        assert {"finish", "release"} <= set(dir(room.Room))
