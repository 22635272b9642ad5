"""`penstock recurrences`, as an operator uses it, on a database of its own without any service."""

from pathlib import Path
from typing import cast

from tests.acceptance.console import Outcome, clean_environment, penstock

APP = """
workflow: tidy
on: {recurrence: {cron: "0 3 * * *", timezone: Europe/Paris}}
steps: [{log: tidied}]
"""


async def test_recurrences_are_listed_paused_resumed_triggered_and_made_up(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    (tmp_path / "app.yaml").write_text("app: tidy")
    (tmp_path / "workflows" / "tidy.yaml").write_text(APP)
    environment = clean_environment(PENSTOCK_DATABASE_URL=database_url, COLUMNS="200")

    async def command(*arguments: str) -> Outcome:
        return await penstock(*arguments, environment=environment, directory=tmp_path)

    assert (await command("deploy", ".", "-e", "live")).code == 0
    (found,) = cast(
        "list[dict[str, object]]", (await command("recurrences", "list", "-e", "live", "--json")).json["results"]
    )
    id = str(found["id"])
    shown = (await command("recurrences", "list", "-e", "live")).out
    assert all(part in shown for part in (id, "tidy", "0 3 * * * Europe/Paris", "active"))
    assert (await command("recurrences", "pause", id, "--json")).json["state"] == "paused"
    assert "active, next tick" in (await command("recurrences", "resume", id)).out
    run = (await command("recurrences", "trigger", id, "--json")).json
    assert (run["workflow"], run["state"]) == ("tidy", "scheduled")
    assert (await command("recurrences", "backfill", id, "--since", "3d")).out == "3 runs started\n"
    assert (await command("recurrences", "backfill", id, "--since", "3d")).out == "0 runs started\n"
    too_many = await command("recurrences", "backfill", id, "--since", "2000-01-01T00:00:00Z")
    assert (too_many.code, "more than 1000 ticks" in too_many.err) == (1, True)
    unknown = await command("recurrences", "pause", "00000000-0000-8000-8000-000000000000")
    assert (unknown.code, unknown.err.strip()) == (
        1,
        "penstock: no recurrence of that id; `penstock recurrences list` shows them",
    )
