"""Ids that name nothing, in what runs are given by the management API and by messages."""

from pathlib import Path

from tests.integration.ingress import running_ingress, write_app
from tests.integration.scheduling import Station

GREET_USER = """
workflow: greet_user
parameters: {who: user, others: {type: list of user, optional: true}}
steps:
  - return: {}
"""
ADA, NOBODY = "1700000000000x100000000000000001", "1700000000000x100000000000000002"
MAKE_ADA = 'INSERT INTO {}."user" (_id, created_date, modified_date) VALUES ($1, now(), now())'


async def test_the_management_api_refuses_an_id_that_names_nothing(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    app = write_app(tmp_path, greet_user=GREET_USER)
    async with running_ingress(database_url, amqp_url, app) as ingress:
        await ingress.fetch(MAKE_ADA.format("live"), ADA)

        async def start(parameters: object, key: str | None = None) -> tuple[int, object]:
            body = {"workflow": "greet_user", "parameters": parameters, "idempotency_key": key}
            answer = await ingress.manage("POST", "/v1/live/runs", json=body)
            return answer.status, answer.json.get("detail")

        absent = "Invalid value for parameter {}there is no user with this id"
        assert await start({"who": NOBODY}) == (422, absent.format("who: "))
        assert await start({"who": ADA, "others": [ADA, NOBODY]}) == (422, absent.format("others: item 1: "))
        assert (await start({"who": ADA, "others": []}, "k"))[0] == 201
        await ingress.fetch('DELETE FROM live."user"')
        assert (await start({"who": ADA, "others": []}, "k"))[0] == 200, "a copy; its run may have deleted the thing"
        assert (await start({"who": ADA}))[0] == 422
        assert await ingress.count_runs() == 1


async def test_a_message_with_an_id_that_names_nothing_is_dead_lettered_with_the_reason(station: Station) -> None:
    await station.deploy(GREET_USER)
    await station.fetch(MAKE_ADA.format("live"), ADA)
    async with station.scheduler():
        for parameters in ({"who": NOBODY}, {"who": ADA, "others": [NOBODY]}):
            answer = await station.ask(workflow="greet_user", parameters=parameters)
            assert "there is no user with this id" in str(answer["detail"])
        await station.dead.receive(2)
        good = await station.ask(workflow="greet_user", parameters={"who": ADA}, message_id="k")
        assert good["state"] == "queued"
        await station.fetch('DELETE FROM live."user"')
        again = await station.ask(workflow="greet_user", parameters={"who": ADA}, message_id="k")
        assert (again["run_id"], again["duplicate"]) == (good["run_id"], True)
    assert len(await station.runs()) == 1
    assert all("there is no user with this id" in str(dead.headers["reason"]) for dead in station.dead.messages)
