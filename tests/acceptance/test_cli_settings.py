"""`penstock settings` and `penstock audit` as people and scripts use them, and what other commands leave in the
audit.
"""

from pathlib import Path
from typing import cast

import pytest

from penstock.encryption import make_key
from penstock.store.audit import name_cli_actor
from tests.acceptance.console import Outcome, clean_environment, penstock

VALUE = "sk-live-never-to-be-seen"


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    """What the command line needs to find the database and the key of its secrets."""
    return clean_environment(PENSTOCK_DATABASE_URL=database_url, PENSTOCK_SECRET_KEY=make_key())


def _results(outcome: Outcome) -> list[dict[str, object]]:
    assert outcome.code == 0, outcome
    return cast("list[dict[str, object]]", outcome.json["results"])


async def test_settings_are_set_at_a_terminal_and_who_did_it_is_shown(environment: dict[str, str]) -> None:
    pairs = ("depth_limit=25", "depth_policy=observe", "chain_workload_limit=1500.5",
             "notification_addresses=ops@example.com, boss@example.com")  # fmt: skip
    done = await penstock("settings", "set", "-e", "live", *pairs, environment=environment)
    assert done.code == 0, done
    shown = (await penstock("settings", "show", "-e", "live", "--json", environment=environment)).json
    expected = {
        "depth_limit": 25, "depth_policy": "observe", "chain_workload_limit": 1500.5,
        "notification_addresses": ["ops@example.com", "boss@example.com"],
    }  # fmt: skip
    assert {name: shown[name] for name in expected} == expected
    text = (await penstock("settings", "show", "-e", "live", environment=environment)).out
    assert "ops@example.com, boss@example.com" in text
    (act,) = _results(await penstock("audit", "-e", "live", "--json", environment=environment))
    assert (act["actor"], act["action"], act["after"]) == (name_cli_actor(), "settings.set", expected)
    assert name_cli_actor().startswith("cli:")
    cleared = await penstock("settings", "set", "-e", "live", "notification_addresses=", environment=environment)
    assert cleared.code == 0, cleared
    people = (await penstock("audit", "-e", "live", "--limit", "1", environment=environment)).out
    assert "settings.set" in people
    assert "boss@example.com" in people
    assert "depth_limit" not in people


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("depth_limt=3", "did you mean 'depth_limit'?"),
        ("depth_limit", "is not of the form key=value"),
        ("depth_limit=deep", "depth_limit: Input should be a valid integer"),
        ("depth_limit=null", "null is not a value"),
        ("depth_limit=99999999999999999999999", "depth_limit:"),
        ("notification_addresses=nobody", "nobody"),
        ("workload_allowance=-1", "workload_allowance:"),
    ],
)
async def test_a_setting_that_makes_no_sense_is_refused_and_nothing_changes(
    environment: dict[str, str], pair: str, said: str
) -> None:
    done = await penstock("settings", "set", "-e", "live", "chain_runs_limit=7", pair, environment=environment)
    assert (done.code, said in " ".join(done.err.replace("│", " ").split())) == (2, True), done
    shown = (await penstock("settings", "show", "-e", "live", "--json", environment=environment)).json
    assert shown["chain_runs_limit"] == 1000000


async def test_secrets_and_deployments_are_noted_without_any_value(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text("app: shop\nenvironments: {live: {depth_limit: 33}}\n")
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "w.yaml").write_text("workflow: greet\nsteps: [{log: hello}]\n")

    async def done(*arguments: str, stdin: str | None = None) -> None:
        outcome = await penstock(*arguments, environment=environment, stdin=stdin)
        assert outcome.code == 0, outcome

    await done("secret", "set", "KEY", "-e", "live", stdin=VALUE)
    environment["PENSTOCK_SECRET_KEY"] = f"{make_key()},{environment['PENSTOCK_SECRET_KEY']}"
    await done("secret", "rotate")
    await done("secret", "remove", "KEY", "-e", "live")
    await done("deploy", str(tmp_path), "--environment", "development")
    await done("deploy", str(tmp_path), "--environment", "development")
    await done("promote")
    live = await penstock("audit", "-e", "live", "--json", environment=environment)
    assert VALUE not in live.out
    noted = [(act["action"], act["subject"]) for act in reversed(_results(live))]
    assert noted == [
        ("secret.set", "KEY"), ("secret.rotate", "KEY"), ("secret.remove", "KEY"),
        ("settings.set", ""), ("app.promote", "shop"),
    ]  # fmt: skip
    (promoted,) = _results(await penstock("audit", "-e", "live", "--action", "app", "--json", environment=environment))
    after = cast("dict[str, object]", promoted["after"])
    assert after["version"] == 1
    assert "add workflow greet" in cast("list[str]", after["changes"])
    (deployed,) = _results(await penstock("audit", "--json", environment=environment))
    assert (deployed["action"], deployed["subject"]) == ("app.deploy", "shop")
