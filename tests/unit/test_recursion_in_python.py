"""The static check for recursion through an app's Python: what its source schedules and changes, and what it says."""

from pathlib import Path

import pytest

from penstock.reading.loader import load_app

HEAD = "app: shop\npython: [shop]\n"
IMPORTS = "from penstock import App, Context, change\napp = App()\n"
TYPES = "type: order\nfields: {paid: boolean, note: text}\n"


def findings(directory: Path, code: str, *, yaml: str = "") -> list[str]:
    """What `penstock check` says of an app whose shop.py holds `code` from its third line on."""
    for folder in ("types", "workflows"):
        (directory / folder).mkdir()
    (directory / "app.yaml").write_text(HEAD)
    (directory / "types" / "order.yaml").write_text(TYPES)
    (directory / "shop.py").write_text(IMPORTS + code)
    if yaml:
        (directory / "workflows" / "all.yaml").write_text(yaml)
    return [f"{problem.file}:{problem.line}: {problem.message}" for problem in load_app(directory).problems]


def workflow(body: str) -> str:
    return f"@app.workflow()\nasync def again(ctx: Context, n: int = 0):\n{body}"


ENDLESS = "endless recursion: again → again; nothing on this path has a condition"
GUARDED = "recursion, under a condition: again → again"


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("    await ctx.schedule('again')\n", 5, ENDLESS),
        ("    n = n + 1\n    await ctx.trigger('again', {'n': n})\n", 6, ENDLESS),
        ("    await ctx.schedule_list('again', [{'n': 1}])\n", 5, ENDLESS),
        ("    try:\n        await ctx.schedule('again')\n    except ValueError:\n        pass\n", 6, ENDLESS),
        ("    if n:\n        await ctx.schedule('again')\n", 6, GUARDED),
        ("    if not n:\n        return\n    await ctx.schedule('again')\n", 7, GUARDED),
        ("    if not n:\n        await ctx.stop('done')\n    await ctx.schedule('again')\n", 7, GUARDED),
        ("    for _ in range(n):\n        await ctx.schedule('again')\n", 6, GUARDED),
        ("    n and await ctx.schedule('again')\n", 5, GUARDED),
        ("    [await ctx.schedule('again') for _ in range(n)]\n", 5, GUARDED),
    ],
)
def test_a_call_that_names_a_workflow_is_followed(tmp_path: Path, body: str, line: int, message: str) -> None:
    assert findings(tmp_path, workflow(body)) == [f"shop.py:{line}: {message}"]


def test_a_workflow_that_is_not_named_may_be_any(tmp_path: Path) -> None:
    found = findings(tmp_path, workflow("    name = 'again'\n    await ctx.schedule(name)\n"))

    assert found == ["shop.py:6: this may schedule any workflow: its name is computed"]


@pytest.mark.parametrize("call", ["ctx.schedule('again')  # recursion: ends with the list", "ctx.run.id", "print(ctx)"])
def test_a_reason_or_no_schedule_leaves_nothing_to_say(tmp_path: Path, call: str) -> None:
    assert findings(tmp_path, workflow(f"    await {call}\n")) == []


def test_a_function_that_is_given_the_context_is_followed(tmp_path: Path) -> None:
    code = "async def more(n, c):\n    await c.schedule('again')\n" + workflow("    await more(n, ctx)\n")

    assert findings(tmp_path, code) == [f"shop.py:4: {ENDLESS}"]


def test_functions_that_call_each_other_end_the_search(tmp_path: Path) -> None:
    code = (
        "async def one(c):\n    await two(c)\nasync def two(c):\n    await one(c)\n    await c.schedule('again')\n"
        + workflow("    await one(ctx)\n")
    )

    assert findings(tmp_path, code) == [f"shop.py:7: {ENDLESS}"]


def test_an_action_counts_for_the_workflow_that_runs_it(tmp_path: Path) -> None:
    action = "@app.action\nasync def push(ctx: Context):\n    await ctx.schedule('round')\n"
    plain, guarded = (
        "workflow: round\nsteps: [{run: shop.push}]",
        "workflow: round\nsteps: [{run: shop.push, when: 1 == 2}]",
    )
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    assert findings(tmp_path / "a", action, yaml=plain) == [
        "shop.py:5: endless recursion: round → round; nothing on this path has a condition"
    ]
    assert findings(tmp_path / "b", action, yaml=guarded) == ["shop.py:5: recursion, under a condition: round → round"]


@pytest.mark.parametrize(
    ("when", "change", "is_found"),
    [
        ("", "await ctx.update(order, {'note': 'x'})", True),
        ("when='after.paid and before.paid != true'", "await ctx.update(order, {'note': 'x'})", False),
        ("when='after.paid and before.paid != true'", "await ctx.update(order, {'paid': n > 0})", True),
        ("when='after.paid and before.paid != true'", "await ctx.update(order, values_of(n))", True),
        ("when='after.paid'", "await ctx.update(order, {'note': 'x'})", True),
        ("when='after.paid'", "await ctx.update(order, {'paid': False})", False),
        ("when='after.paid'", "await ctx.update_many('order', {}, {'paid': True})", True),
        ("when='after.paid'", "await ctx.create('order', {'paid': False})", False),
        ("when='before == null'", "await ctx.update(order, {'paid': True})", False),
    ],
)
def test_changes_of_things_lead_to_triggers_that_they_can_meet(
    tmp_path: Path, when: str, change: str, is_found: bool
) -> None:
    options = f", {when}" if when else ""
    code = (
        "def values_of(n): return {}\n"
        f"@app.workflow(on=[change('order', operations=['create', 'update']{options})])\n"
        "async def again(ctx: Context, n: int = 0):\n"
        "    order = await ctx.get('order', where={'note': 'y'})\n"
        f"    {change}\n"
    )
    found = findings(tmp_path, code)

    assert bool(found) is is_found, found
