"""`penstock deploy` and `penstock promote` as a person runs them: the plan, what is dropped and what is not, what is
missing.
"""

from pathlib import Path

from penstock.db import open_database
from tests.acceptance.console import clean_environment, penstock

HEAD = "app: shop\nsources:\n  stripe: {scheme: stripe, secrets: ['${secrets.STRIPE}']}\n"
TYPES = "type: order\nfields: {number: text, note: text}\n---\ntype: draft\nfields: {name: text}\n"
WORKFLOWS = "workflow: ask\nsteps:\n  - http: https://example.com\n    headers: {Authorization: '${secrets.TOKEN}'}\n"


async def test_promote_copies_what_development_holds_and_nothing_else(database_url: str, tmp_path: Path) -> None:
    environment = clean_environment(PENSTOCK_DATABASE_URL=database_url)
    empty = await penstock("promote", environment=environment)
    assert (empty.code, empty.err) == (
        1,
        "penstock: nothing is deployed to development; use `penstock deploy DIR --environment development` first\n",
    )
    write_app(tmp_path)
    assert (await penstock("deploy", str(tmp_path), "-e", "development", environment=environment)).code == 0
    (tmp_path / "workflows" / "all.yaml").write_text("broken: [")
    planned = await penstock("promote", "--plan", environment=environment)
    assert planned.code == 0
    for line in ("+ workflow ask", "+ source stripe", "+ add type order to live", "nothing was changed"):
        assert line in planned.out
    promoted = await penstock("promote", environment=environment)
    assert promoted.out.splitlines()[-1] == "deployed shop to live, version 1"
    again = await penstock("promote", environment=environment)
    assert again.out.splitlines() == ["no changes", "live holds shop already, as version 1"]
    as_json = (await penstock("promote", "--plan", "--json", environment=environment)).json
    assert (as_json["version"], as_json["differences"], as_json["tables"]) == (None, [], [])


async def test_a_plan_tells_every_kind_of_change(database_url: str, tmp_path: Path) -> None:
    environment = clean_environment(PENSTOCK_DATABASE_URL=database_url)
    deploy = ("deploy", str(tmp_path), "-e", "live")
    write_app(tmp_path)
    assert (await penstock(*deploy, environment=environment)).code == 0
    write_app(
        tmp_path, head="app: shop\n", types="type: order\nfields: {number: text, total: number}\nunique: [number]\n"
    )
    planned = await penstock(*deploy, "--plan", environment=environment)
    assert planned.out.splitlines() == [
        "- source stripe",
        "- data type draft",
        "~ data type order (fields, unique)",
        "+ add field total (number) to type order in live",
        "+ make number unique in type order of live",
        "  with --prune: drop table draft and all its things from live",
        "  with --prune: drop column note and its values from type order in live",
        "nothing was changed",
    ]


async def test_nothing_is_dropped_without_prune_and_without_a_yes(database_url: str, tmp_path: Path) -> None:
    environment = clean_environment(PENSTOCK_DATABASE_URL=database_url)
    deploy = ("deploy", str(tmp_path), "-e", "live")
    write_app(tmp_path)
    assert (await penstock(*deploy, environment=environment)).code == 0
    write_app(tmp_path, types="type: order\nfields: {number: text}\n")
    assert (await penstock(*deploy, environment=environment)).code == 0
    assert await columns(database_url) == {"draft.name", "order.number", "order.note"}
    unsure = await penstock(*deploy, "--prune", environment=environment)
    assert unsure.code == 1
    assert (
        unsure.err.splitlines()[-1]
        == "penstock: 2 tables and columns would be dropped with their values; add --yes to have it so"
    )
    assert "- drop table draft and all its things from live" in unsure.out
    assert (await penstock(*deploy, "--prune", "--plan", environment=environment)).code == 0
    assert await columns(database_url) == {"draft.name", "order.number", "order.note"}
    pruned = await penstock(*deploy, "--prune", "--yes", "--json", environment=environment)
    assert pruned.json["tables"] == [
        "drop table draft and all its things from live",
        "drop column note and its values from type order in live",
    ]
    assert await columns(database_url) == {"order.number"}


async def test_deploying_warns_of_secrets_that_are_set_nowhere(database_url: str, tmp_path: Path) -> None:
    environment = clean_environment(PENSTOCK_DATABASE_URL=database_url, PENSTOCK_SECRET_STRIPE="whsec")
    write_app(tmp_path)
    outcome = await penstock("deploy", str(tmp_path), "-e", "live", environment=environment)
    assert outcome.code == 0
    assert outcome.err == (
        "penstock: workflows/all.yaml:3: the secret TOKEN is not set in live; what needs it fails until then:"
        " `penstock secret set TOKEN --environment live`, or PENSTOCK_SECRET_TOKEN on ingress and executors\n"
    )
    doctor = await penstock("doctor", environment=environment)
    assert "used and not stored: TOKEN in live" in " ".join(doctor.out.split())
    checked = await penstock("check", str(tmp_path), environment=environment)
    assert checked.out.splitlines()[-1] == "secrets: STRIPE, TOKEN"


def write_app(directory: Path, *, head: str = HEAD, types: str = TYPES) -> None:
    for name, text in (("app.yaml", head), ("types/all.yaml", types), ("workflows/all.yaml", WORKFLOWS)):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


async def columns(database_url: str) -> set[str]:
    """The columns of the app's own types and fields in live."""
    database = await open_database(database_url, name="test", most=2)
    try:
        async with database.connection() as conn:
            rows = await conn.fetch(
                """
                SELECT table_name || '.' || column_name AS name FROM information_schema.columns
                WHERE table_schema = 'live' AND table_name <> 'user'
                AND column_name NOT IN ('_id', 'created_date', 'modified_date', 'created_by', 'slug')
                """
            )
    finally:
        await database.close()
    return {row["name"] for row in rows}
