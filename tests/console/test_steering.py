"""Steering from the console, before the real processes: a runaway is stopped and resumed, the schedule paused, a run
started from a form.
"""

import re
from typing import cast

from playwright.async_api import Page, expect

from tests.console.browsing import Browsing
from tests.console.story import JsonObject, Story, find_run, start, wait_until, wait_until_cut
from tests.eventually import eventually


async def count_runs(console: Browsing, chain: str) -> dict[str, int]:
    """By state, the runs of a chain."""
    _, found = await console.installation.manage(console.ingress, "GET", f"live/chains/{chain}?limit=1")
    return cast("dict[str, int]", cast("JsonObject", found)["counts"])


async def stop(console: Browsing, chain: str) -> None:
    await console.installation.manage(console.ingress, "POST", f"live/chains/{chain}/stop")


async def test_a_runaway_is_stopped_while_it_multiplies_and_resumed(console: Browsing) -> None:
    chain, _ = await start(console, "multiply", {})
    try:
        async with console.logged_in(f"chains/{chain}") as page:
            await expect(page.locator("h1")).to_have_text("Chain of multiply")
            # The page follows by itself: nobody loads it again.
            await expect(page.locator(".verdict .cycle")).to_have_text("multiply → multiply")
            await page.get_by_role("button", name="Stop", exact=True).click()
            await expect(page.locator(".verdict")).to_contain_text("Stopped")
            await expect(page.get_by_role("status").filter(has_text="All of its runs have ended")).to_be_visible()
            stopped = await count_runs(console, chain)
            assert not stopped.keys() & {"scheduled", "queued", "running", "waiting"}, stopped
            await page.get_by_role("button", name="Resume", exact=True).click()
            await expect(page.get_by_text("runs were readmitted")).to_be_visible()
            await expect(page.get_by_text("Nothing of it starts")).to_have_count(0)

            async def has_grown() -> bool:
                return (await count_runs(console, chain)).get("succeeded", 0) > stopped.get("succeeded", 0)

            await eventually(has_grown, within=30)
    finally:
        await stop(console, chain)


async def test_a_chain_that_was_cut_continues_at_one_click_on_its_page(console: Browsing) -> None:
    chain, _ = await start(console, "begin_loop", {})
    await wait_until_cut(console, chain)
    async with console.logged_in(f"chains/{chain}") as page:
        await expect(page.locator(".verdict")).to_contain_text("cut by the depth limit")
        await expect(page.locator(".verdict .cycle")).to_have_text("left_turn → right_turn → left_turn")
        await expect(page.get_by_role("progressbar", name="Depth: 10 of 10")).to_be_visible()
        await expect(page.locator("svg .node.marked")).to_have_count(11)
        await page.get_by_role("button", name="Resume, 10 deeper").click()
        await expect(page.get_by_text("2 runs were readmitted")).to_be_visible()
        await expect(page.get_by_role("progressbar", name="Depth: 20 of 20")).to_be_visible()


async def test_the_tree_is_read_as_a_list_and_leads_to_its_runs(console: Browsing) -> None:
    chain, _ = await start(console, "begin_loop", {})
    await wait_until_cut(console, chain)
    async with console.logged_in(f"chains/{chain}") as page:
        await page.get_by_text("The tree as a list").click()
        await expect(page.locator(".outline li").first).to_have_text("Depth 0: 1 × begin_loop, succeeded")
        await page.locator(".outline a").first.click()
        await expect(page).to_have_url(console.address(f"runs/{chain}"))


async def test_the_schedule_is_paused_and_resumed(console: Browsing) -> None:
    async with console.logged_in("overview") as page:
        await page.goto(console.address("schedule", "development"))
        await page.get_by_role("button", name="Pause the schedule").click()
        await page.get_by_role("dialog").get_by_role("button", name="Pause the schedule").click()
        await expect(page.locator(".pause")).to_contain_text("everything in this environment")
        wanted = {"workflow": "pack_order", "parameters": {"number": "A-3"}}
        _, made = await console.installation.manage(console.ingress, "POST", "development/runs", wanted)
        id = cast("JsonObject", made)["id"]
        await expect(page.get_by_role("row").filter(has_text="pack_order").locator(".badge").first).to_have_text(
            "paused"
        )
        await page.get_by_role("button", name="Resume the schedule").click()
        await expect(page.locator(".pause")).to_have_count(0)

        async def has_run() -> bool:
            _, run = await console.installation.manage(console.ingress, "GET", f"development/runs/{id}")
            return cast("JsonObject", run)["state"] == "succeeded"

        await eventually(has_run, within=30)


async def fill(page: Page, name: str, value: str) -> None:
    await page.get_by_label(name, exact=True).fill(value)


async def test_a_run_is_started_from_a_form_of_its_parameters(console: Browsing) -> None:
    async with console.logged_in("workflows/describe_parcel") as page:
        await fill(page, "number", "P-1")
        await fill(page, "shelves", '["a", ')
        await fill(page, "weight", "2.5")
        await page.get_by_role("button", name="Start").click()
        await expect(page.get_by_role("alert")).to_have_text("shelves: this is not JSON")
        await fill(page, "shelves", '["a", "b"]')
        await page.get_by_label("is_fragile", exact=True).select_option("yes")
        await page.get_by_role("button", name="Start").click()
        await expect(page).to_have_url(re.compile(r"/console/live/runs/[0-9a-f-]{36}$"))
        id = page.url.rsplit("/", 1)[1]
    await wait_until(console, id, "succeeded")
    assert (await find_run(console, id))["result"] == {
        "number": "P-1", "weight": 2.5, "fragile": True, "shelves": ["a", "b"],
    }  # fmt: skip


async def test_a_workflow_is_paused_and_resumed(console: Browsing) -> None:
    async with console.logged_in("workflows/nightly_report") as page:
        await page.get_by_role("button", name="Pause", exact=True).click()
        await page.get_by_role("dialog").get_by_role("button", name="Pause").click()
        await expect(page.get_by_text("paused in the console")).to_be_visible()
        await page.get_by_role("button", name="Resume", exact=True).click()
        await expect(page.get_by_text("paused in the console")).to_have_count(0)


async def test_the_overview_counts_what_happens_and_names_who_works(console: Browsing) -> None:
    async with console.logged_in("overview") as page:
        await expect(page.get_by_role("region", name="Services").first).to_contain_text("3 of 3")
        await expect(page.locator("canvas")).to_be_visible()
        rows = page.get_by_role("table", name="Processes of all services").get_by_role("row")
        await expect(rows).to_have_count(4)
        await start(console, "pack_order", {"number": "A-4"})
        await expect(page.get_by_role("img", name="Runs per minute")).to_be_visible()


async def test_things_are_looked_at_by_constraints(console: Browsing, story: Story) -> None:
    assert story.run, "an order was made"
    async with console.logged_in("data/order") as page:
        await page.get_by_label("Field", exact=True).select_option("total")
        await page.get_by_label("Constraint", exact=True).select_option("greater than")
        await fill(page, "Value", "100")
        await page.get_by_role("button", name="Add").click()
        await expect(page.get_by_role("table", name="Things of the type").get_by_role("row")).not_to_have_count(0)
        await expect(page.get_by_role("cell", name="250")).not_to_have_count(0)
        await expect(page.get_by_role("cell", name="10", exact=True)).to_have_count(0)
        await page.get_by_role("button", name="Remove").click()
        await expect(page.get_by_role("cell", name="10", exact=True)).not_to_have_count(0)


async def test_the_log_is_searched_followed_and_narrowed_to_one_run(console: Browsing, story: Story) -> None:
    async with console.logged_in("logs") as page:
        await page.get_by_label("Level, at least").select_option("error")
        await expect(page.locator(".log-line").filter(has_text="was refused").first).to_be_visible()
        await page.get_by_role("button", name="Clear filters").click()
        await page.get_by_role("button", name="Follow").click()
        run, _ = await start(console, "take_order", {"number": "FOLLOWED-1"})
        line = page.locator(".log-line").filter(has_text="took FOLLOWED-1").first
        await expect(line).to_be_visible()
        await line.get_by_role("button", name="Zoom").click()
        await expect(page.locator("h1")).to_have_text("Log of a run")
        await expect(page.locator(".log-line").filter(has_text="running event").first).to_be_visible()
        await expect(page.locator(f'.log-line a:not([href$="{run}"])')).to_have_count(0)


async def test_a_failed_run_is_retried_with_what_was_mended(console: Browsing) -> None:
    failed, _ = await start(console, "charge_card", {"number": "A-8", "amount": 250, "note": "mend"})
    await wait_until(console, failed, "failed")
    async with console.logged_in(f"runs/{failed}", expected=r"\b422\b") as page:
        await page.locator("summary").filter(has_text="checked").click()
        given = page.get_by_label("inputs of checked", exact=True)
        await expect(given).to_contain_text('"fail": "the card of A-8 was refused; mend"')
        await page.get_by_role("button", name="Retry with changes").click()
        dialog = page.get_by_role("dialog")
        parameters = dialog.get_by_label("Parameters")
        await expect(parameters).to_have_value(re.compile(r'"amount": 250'))
        retry = dialog.get_by_role("button", name="Retry")
        for text, step, problem in (
            ('{"amount": ', "", "this is not JSON"),
            ('{"amount": "much"}', "", "Invalid value for parameter amount"),
            ('{"amount": 20}', "chekced", "did you mean 'checked'?"),
        ):
            await parameters.fill(text)
            await dialog.get_by_label("From step").fill(step)
            await retry.click()
            field = dialog.locator(".field").filter(has=page.locator("[aria-invalid]"))
            await expect(field.get_by_role("alert")).to_contain_text(problem)
        await dialog.get_by_label("From step").fill("checked")
        await retry.click()
        await expect(dialog).to_have_count(0)
    await wait_until(console, failed, "succeeded")
    run = await find_run(console, failed)
    assert (run["result"], run["parameters"]) == (
        {"charged": 20}, {"number": "A-8", "amount": 20, "note": "mend"},
    )  # fmt: skip


async def test_a_dead_letter_is_retried_and_when_it_fails_again_resolved(console: Browsing) -> None:
    failed, _ = await start(console, "charge_card", {"number": "A-9", "amount": 250, "note": "again"})
    await wait_until(console, failed, "failed")
    async with console.logged_in("dead-letters?workflow=charge_card") as page:
        await page.locator(f'a[href$="/dead-letters/{failed}"]').click()
        await expect(page.locator("h1")).to_have_text("Dead letter: charge_card")
        before = (await find_run(console, failed))["attempt"]
        await page.get_by_role("button", name="Retry", exact=True).click()

        async def was_tried() -> bool:
            run = await find_run(console, failed)
            return (run["attempt"], run["state"]) == (cast("int", before) + 1, "failed")

        await eventually(was_tried, within=30)
        # It has failed again, so it is open again, and the page follows by itself.
        await page.get_by_role("button", name="Resolve").click()
        await expect(page.get_by_text("It is resolved.")).to_be_visible()
        await expect(page.get_by_role("button", name="Retry", exact=True)).to_have_count(0)
