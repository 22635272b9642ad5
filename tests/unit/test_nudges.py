"""How a look at the database wakes the loops of a scheduler."""

import re
from dataclasses import fields

from penstock_scheduler.admitting.nudges import Nudges
from penstock_scheduler.repository.looks import LOOK_FOR_DUE, LOOK_FOR_WRITTEN


def test_each_loop_that_can_be_woken_is_looked_for() -> None:
    events = {field.name for field in fields(Nudges)} - {"is_reconnected", "look", "_woken_at"}
    assert set(re.findall(r"\) AS (\w+)", LOOK_FOR_WRITTEN + LOOK_FOR_DUE)) == events


def test_a_look_wakes_a_loop_and_leaves_it_alone_while_what_it_found_may_not_be_its_to_take() -> None:
    nudges = Nudges()
    nudges.wake(["finish", "changes"])
    assert nudges.finish.is_set()
    assert nudges.changes.is_set()
    assert not nudges.ends.is_set()
    nudges.finish.clear()
    nudges.changes.clear()
    nudges.wake(["finish", "changes"])
    assert not nudges.finish.is_set()
    assert nudges.changes.is_set()
