"""`penstock bench` on a whole installation."""

from tests.acceptance.console import clean_environment, penstock
from tests.acceptance.installation import ADMIN_TOKEN, Installation, Service


async def test_an_installation_is_measured_with_a_workflow_of_its_own(
    installation: Installation, services: tuple[Service, Service, Service]
) -> None:
    ingress, *_ = services
    environment = clean_environment(PENSTOCK_DATABASE_URL=installation.database_url, PENSTOCK_ADMIN_TOKEN=ADMIN_TOKEN)
    bench = ("bench", "one_thing", "-p", "name=bench", "--url", ingress.admin_url, "--runs", "60", "--in-flight", "8")

    told = await penstock(*bench, environment=environment)
    assert (told.code, "60 runs: 60 succeeded" in told.out) == (0, True), told
    assert "from acceptance to the start" in told.out

    measured = (await penstock(*bench, "-e", "live", "--yes", "--json", environment=environment)).json
    assert (measured["accepted"], measured["refused"], measured["states"]) == (60, 0, {"succeeded": 60})
    for figure in ("accept_ms", "wait_ms", "run_ms"):
        spread = measured[figure]
        assert isinstance(spread, dict)
        assert 0 < spread["p50"] <= spread["p99"] <= spread["slowest"]
    assert await installation.count_things() == 60

    unsure = await penstock(*bench, "-e", "live", environment=environment, stdin="n\n")
    assert (unsure.code, "nothing was started" in unsure.err) == (1, True)
    stranger = await penstock(*bench, environment={**environment, "PENSTOCK_ADMIN_TOKEN": "wrong-token-0123456789"})
    assert (stranger.code, "calls were refused, the first with:" in stranger.err) == (1, True)
    unknown = await penstock("bench", "nothing", "--url", ingress.admin_url, environment=environment)
    assert (unknown.code, "no workflow 'nothing' is deployed to development" in unknown.err) == (1, True)
    nowhere = await penstock("bench", "one_thing", environment=environment)
    assert (nowhere.code, "--url http://localhost:8081" in nowhere.err) == (1, True)
    assert await installation.count_things() == 60
