"""The same for Python: random programs that loop, catch, gather, nest and wait give the same data however they are
interrupted.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.runtime import Resources, Stop
from penstock_scheduler.room import furnish
from tests.integration.executing import ENVIRONMENT, TYPES, House
from tests.integration.scheduling import build_settings
from tests.integration.test_interrupted_programs import INTERRUPTIONS, WATCH, Kind, Laboratory, Operation
from tests.site import deploy_directory

ACTIONS: Final = "create update delete catch gather nest step thread trigger schedule wait count".split()
PROGRAMS: Final = st.lists(st.builds(Operation, st.sampled_from(ACTIONS), st.integers(0, 3)), min_size=5, max_size=9)
CODE: Final = """
import asyncio
import json
from pathlib import Path

from penstock import App, Context, Permanent, Thing

app = App()
PROGRAM = json.loads((Path(__file__).parent / "program.json").read_text())


def double(number: int) -> int:
    return number * 2


@app.workflow()
async def program(ctx: Context, place: str) -> dict:
    last: Thing | None = None
    told: list = []
    for index, (action, number) in enumerate(PROGRAM):
        label = f"{place}/program/s{index}"
        match action:
            case "create":
                last = await ctx.create("thing", {"name": label, "remaining": number})
            case "update" if last is not None:
                last = await ctx.update(last, {"remaining": last.remaining + number})
            case "delete" if last is not None:
                await ctx.delete(last)
                last = None
            case "catch":
                try:
                    await ctx.create("thing", {"no such field": label})
                except Permanent as error:
                    told.append(error.kind)
            case "gather":
                things = [{"name": label, "remaining": one} for one in range(number)]
                made = await asyncio.gather(*(ctx.create("thing", thing) for thing in things))
                told.append([thing.remaining for thing in made])
            case "nest":
                async def inner(label: str) -> float:
                    return (await ctx.create("thing", {"name": label, "remaining": number})).remaining
                told.append(await ctx.step(f"nest_{index}", inner, label))
            case "step" | "thread":
                told.append(await ctx.step(f"step_{index}", double, number))
            case "trigger":
                told.append(await ctx.trigger("child", {"place": label}))
            case "schedule":
                await ctx.schedule("child", {"place": label})
            case "wait":
                await ctx.wait(number / 1000)
            case "count":
                told.append(await ctx.count("thing", [{"key": "name", "constraint_type": "equals", "value": label}]))
    return {"told": told}


@app.workflow()
def child(ctx: Context, place: str) -> dict:
    return {"made": ctx.do(ctx.create("thing", {"name": f"{place}/child"})).remaining}
"""


@dataclass
class CodeLaboratory(Laboratory):
    """The same, for an app in `directory`."""

    directory: Path = Path()

    async def deploy(self, operations: Sequence[Operation]) -> None:
        """Make these operations the workflow `program`."""
        program = [[operation.action, operation.number] for operation in operations]
        (self.directory / "program.json").write_bytes(orjson.dumps(program))
        await deploy_directory(self.house.database, self.directory, [ENVIRONMENT])
        await self.house.deployments.refresh(ENVIRONMENT)

    async def start_executor(self) -> None:
        """One more."""
        self.executors.append(
            await self.stack.enter_async_context(self.house.executor(lease_seconds=5, app=self.directory))
        )


@pytest.fixture
async def laboratory(house: House, tmp_path: Path) -> AsyncIterator[CodeLaboratory]:
    """Ready to perform programs."""
    (tmp_path / "types").mkdir()
    (tmp_path / "app.yaml").write_text("app: house\npython: [programs]\n")
    (tmp_path / "types" / "thing.yaml").write_text(TYPES)
    (tmp_path / "programs.py").write_text(CODE)
    async with AsyncExitStack() as stack:
        room = furnish(build_settings(), Resources(house.database, house.broker), Stop())
        laboratory = CodeLaboratory(house, room, stack, directory=tmp_path)
        await laboratory.deploy([])
        async with house.database.connection() as conn:
            await conn.execute(WATCH)
        laboratory.executors.append(await stack.enter_async_context(house.services(lease_seconds=5, app=tmp_path)))
        await laboratory.start_executor()
        yield laboratory
        await room.dispatches.drain()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(operations=PROGRAMS, interruptions=INTERRUPTIONS)
@pytest.mark.timeout(240)
async def test_interrupted_code_gives_the_same_data(
    laboratory: CodeLaboratory, operations: list[Operation], interruptions: dict[int, Kind]
) -> None:
    await laboratory.deploy(operations)
    expected, expected_changes, expected_things = await laboratory.perform("quiet", {})
    run, changes, things = await laboratory.perform("interrupted", interruptions)
    assert expected["state"] == "succeeded", expected["error"]
    assert (run["state"], run["error"]) == ("succeeded", None)
    assert run["result"] == expected["result"]
    assert changes == expected_changes
    assert things == expected_things


async def test_code_begins_anew_after_interruptions_and_changes_everything_once(laboratory: CodeLaboratory) -> None:
    await laboratory.deploy([Operation("create"), *[Operation("update", 1) for _ in range(9)], Operation("nest", 2)])
    interruptions: dict[int, Kind] = {3: "stop", 5: "expire", 7: "cut", 9: "stop"}
    async for run, changes, things in laboratory.interrupt(interruptions, attempts=3):
        assert run["state"] == "succeeded"
        assert changes == {"INSERT /program/s0": 1, "UPDATE /program/s0": 9, "INSERT /program/s10": 1}
        assert things == [("/program/s0", 9), ("/program/s10", 2)]
