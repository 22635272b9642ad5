"""Waits inside `each` and `parallel`: the run waits for one thing at a time, and continues where it was."""

from datetime import timedelta
from functools import partial

from tests.eventually import eventually
from tests.integration.executing import House, names
from tests.integration.waiting.moving import advance_time, is_in_state, send_signal


async def test_a_run_waits_inside_an_iteration_and_continues_with_the_same_list(house: House) -> None:
    await house.deploy("""
workflow: slow
steps:
  - id: loop
    each: "${[run.attempt, 7]}"
    steps:
      - create: thing
        set: {name: "before ${item}"}
      - wait: 1d
      - create: thing
        set: {name: "after ${item}"}
""")
    async with house.services():
        run_id = await house.start("slow")
        for attempt in (1, 2):
            await eventually(partial(is_in_state, house, run_id, "waiting", attempt=attempt))
            await advance_time(house, timedelta(days=1))
        run = await house.ended(run_id)
    assert (run["state"], run["attempt"]) == ("succeeded", 3), run["error"]
    assert names(await house.things()) == ["before 1", "after 1", "before 7", "after 7"]


async def test_branches_wait_once_all_have_gone_as_far_as_they_can(house: House) -> None:
    await house.deploy("""
workflow: branches
steps:
  - id: all
    parallel:
      long:
        - id: long_wait
          wait: 3d
        - create: thing
          set: {name: long}
      short:
        - id: short_wait
          wait: 1d
        - create: thing
          set: {name: short}
      none:
        - create: thing
          set: {name: none}
      signal:
        - id: heard
          wait_for: news
  - return: {heard: "${steps.all.signal}"}
""")
    async with house.services():
        run_id = await house.start("branches")
        await eventually(lambda: is_in_state(house, run_id, "waiting", attempt=1))
        assert names(await house.things()) == ["none"]
        await advance_time(house, timedelta(days=1))
        await eventually(lambda: is_in_state(house, run_id, "waiting", attempt=2))
        assert names(await house.things()) == ["none", "short"]
        await send_signal(house, "news", {"n": 1})
        await eventually(lambda: is_in_state(house, run_id, "waiting", attempt=3))
        await advance_time(house, timedelta(days=2))  # three days since it began to wait, not since it was woken
        run = await house.ended(run_id)
    assert names(await house.things()) == ["none", "short", "long"]
    assert (run["state"], run["result"]) == ("succeeded", {"heard": {"n": 1}})


async def test_a_signal_that_does_not_come_in_time_is_null_though_other_branches_went_on(house: House) -> None:
    await house.deploy("""
workflow: timed
steps:
  - id: all
    parallel:
      signal:
        - id: heard
          wait_for: news
          timeout: 2d
      time:
        - id: waited
          wait: 1d
        - create: thing
          set: {name: time}
        - wait: 5d
  - return: {heard: "${steps.all.signal}"}
---
workflow: two_signals
steps:
  - id: all
    parallel:
      one: [{id: a, when: now != null, wait_for: a}]
      two: [{id: b, wait_for: b}]
""")
    async with house.services():
        run_id = await house.start("timed")
        for attempt in (1, 2, 3):
            await eventually(partial(is_in_state, house, run_id, "waiting", attempt=attempt))
            steps = await house.steps(run_id)
            assert steps["all[signal].heard"]["outcome"] == ("succeeded" if attempt > 2 else "waiting")
            await advance_time(house, timedelta(days=1 if attempt < 3 else 4))
        run = await house.ended(run_id)
        two = await house.perform("two_signals")
    assert (run["state"], run["result"]) == ("succeeded", {"heard": None})
    assert names(await house.things()) == ["time"]
    assert (two["state"], two["error"]["message"].partition(":")[0]) == (
        "failed", "all[one].a and all[two].b cannot wait at the same time",
    )  # fmt: skip


async def test_pauses_of_two_branches_between_tries_are_kept_to(house: House) -> None:
    await house.deploy("""
workflow: pausing
steps:
  - id: all
    parallel:
      one:
        - http: http://127.0.0.1:1/one
          retry: {attempts: 2, backoff: 1h, jitter: 0}
          on_error: continue
      two:
        - http: http://127.0.0.1:1/two
          retry: {attempts: 2, backoff: 3h, jitter: 0, max: 3h}
          on_error: continue
""")
    async with house.services(outgoing_allow="127.0.0.0/8"):
        run_id = await house.start("pausing")
        await eventually(lambda: is_in_state(house, run_id, "waiting", attempt=1))
        await advance_time(house, timedelta(hours=1))
        await eventually(lambda: is_in_state(house, run_id, "waiting", attempt=2))
        steps = await house.steps(run_id)
        assert steps["all[one].step1"]["outcome"] == "failed"
        assert "all[two].step1" not in steps
        await advance_time(house, timedelta(hours=2))
        run = await house.ended(run_id)
    assert run["state"] == "succeeded"
    assert (await house.steps(run_id))["all[two].step1"]["outcome"] == "failed"
