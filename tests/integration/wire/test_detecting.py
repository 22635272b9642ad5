"""`/initialize` over real HTTP: what it proposes, that it runs nothing, and who may send samples."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

from penstock.cli.program import build_program
from penstock.store.detected import MAX_PROPOSALS
from tests.integration.ingress import ADMIN, Answer, Ingress, running_ingress, write_app
from tests.site import deploy_directory

GREET = "/version-test/api/1.1/wf/greet/initialize"
SAMPLE = {"name": "Ada", "times": 2, "born": "1815-12-10", "tags": ["a"], "home": {"address": "London"}, "more": None}
YAML = """parameters:
  name: text
  times: number
  born: date
  tags: list of text
  home: geographic address
  more: {type: any, optional: true}
"""


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path), max_body_bytes=8192) as running:
        yield running


async def proposed(ingress: Ingress, workflow: str = "greet") -> Answer:
    return await ingress.manage("GET", f"/v1/development/detected/{workflow}")


async def types_of(ingress: Ingress) -> dict[str, str]:
    parameters = (await proposed(ingress)).json["parameters"]
    assert isinstance(parameters, list)
    return {parameter["name"]: parameter["type"] for parameter in parameters}


async def test_a_sample_becomes_a_proposal_and_runs_nothing(ingress: Ingress) -> None:
    answer = await ingress.send("POST", GREET, json=SAMPLE)
    assert (answer.status, answer.body) == (200, b'{"status":"success"}')
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    shown = await proposed(ingress)
    assert (shown.status, shown.json["yaml"]) == (200, YAML)
    assert (shown.json["detected_by"], shown.json["accepted_at"]) == ("anonymous", None)
    assert await ingress.count_runs() == 0
    stored = await ingress.fetchval("SELECT parameters::text FROM penstock.detected_parameters")
    assert "London" not in str(stored)


async def test_the_yaml_can_be_deployed_and_called(ingress: Ingress, tmp_path: Path) -> None:
    await ingress.send("POST", GREET, json=SAMPLE)
    yaml = (await proposed(ingress)).json["yaml"]
    more = f"workflow: detected\n{yaml}on: {{api: {{auth: public}}}}\nsteps:\n  - return: {{}}\n"
    await deploy_directory(ingress.database, write_app(tmp_path, more=more))
    called = await ingress.send("POST", "/api/1.1/wf/detected", json=SAMPLE, headers={"Prefer": "respond-async"})
    assert called.status == 202


async def test_forms_multipart_and_queries_are_samples_too(ingress: Ingress) -> None:
    multipart = aiohttp.FormData(default_to_multipart=True)
    multipart.add_field("name", "Ada")
    multipart.add_field("times", "3")
    for data, path in (
        (aiohttp.FormData({"name": "Ada", "times": "3"}), GREET),
        (multipart, GREET),
        (None, f"{GREET}?name=Ada&times=3"),
    ):
        assert (await ingress.send("POST", path, data=data)).status == 200
        assert await types_of(ingress) == {"name": "text", "times": "number"}
    assert (await ingress.send("POST", f"{GREET}?name=3&more=4", json={"name": "Ada"})).status == 200
    assert await types_of(ingress) == {"name": "text", "more": "number"}


async def test_a_new_sample_takes_the_place_of_the_one_before(ingress: Ingress) -> None:
    await ingress.send("POST", GREET, json=SAMPLE)
    accepted = await ingress.manage("POST", "/v1/development/detected/greet/accept")
    assert (accepted.status, accepted.json["yaml"], accepted.json["accepted_by"]) == (200, YAML, "admin")
    again = await ingress.manage("POST", "/v1/development/detected/greet/accept")
    assert again.json["accepted_at"] == accepted.json["accepted_at"]
    audit = await ingress.manage("GET", "/v1/development/audit?action=detected")
    assert b'"detected.accept"' in audit.body
    assert audit.body.count(b'"detected.accept"') == 1
    await ingress.send("POST", GREET, json={"name": "Ada"})
    assert (await proposed(ingress)).json["accepted_at"] is None
    listed = await ingress.manage("GET", "/v1/development/detected")
    assert (listed.json["results"], listed.json["after"]) == ([(await proposed(ingress)).json], None)


@pytest.mark.parametrize(
    "path",
    [
        "/api/1.1/wf/greet/initialize",
        "/version-live/api/1.1/wf/greet/initialize",
        "/version-test/api/1.1/wf/nothing/initialize",
        "/version-test/api/1.1/wf/hidden/initialize",
        "/version-test/api/1.1/wf/look/initialize",
    ],
)
async def test_live_and_workflows_that_cannot_be_called_so_are_404(ingress: Ingress, path: str) -> None:
    answer = await ingress.send("POST", path, json=SAMPLE, headers=ADMIN)
    assert (answer.status, answer.wrapped[:2]) == (404, (404, "NOT_FOUND"))
    assert (await ingress.manage("GET", "/v1/live/detected")).json["results"] == []


async def test_a_workflow_that_is_not_public_takes_samples_from_operators_alone(ingress: Ingress) -> None:
    path = "/version-test/api/1.1/wf/secretly/initialize"
    viewer = await ingress.manage("POST", "/v1/development/tokens", json={"role": "viewer"})
    looking = {"Authorization": f"Bearer {viewer.json['token']}"}
    for headers in ({}, {"Authorization": "Bearer nobody's"}, looking):
        refused = await ingress.send("POST", path, json=SAMPLE, headers=headers)
        assert (refused.status, refused.json["error_class"]) == (401, "Unauthorized")
    assert (await proposed(ingress, "secretly")).status == 404
    assert (await ingress.send("POST", path, json=SAMPLE, headers=ADMIN)).status == 200
    assert (await proposed(ingress, "secretly")).json["detected_by"] == "admin"


async def test_what_cannot_be_read_is_refused_and_changes_nothing(ingress: Ingress) -> None:
    many = {f"p{number}": 1 for number in range(201)}
    for wrong in ([1], many):
        answer = await ingress.send("POST", GREET, json=wrong)
        assert (answer.status, answer.wrapped[:2]) == (400, (400, "INVALID_DATA"))
    assert (await ingress.send("POST", GREET, data=b"{", headers={"Content-Type": "application/json"})).status == 400
    assert (await ingress.send("POST", GREET, data=b"<a/>", headers={"Content-Type": "text/xml"})).status == 415
    assert (await ingress.send("POST", GREET, json={"name": "x" * 9000})).status == 413
    assert (await ingress.send("GET", GREET)).status == 405
    assert (await proposed(ingress)).status == 404
    assert (await ingress.send("POST", GREET, json={"a\x00b": 1, "name": "\x00", "tags": ["\x00"]})).status == 200
    assert await types_of(ingress) == {"name": "text", "tags": "list of text"}


async def test_only_so_many_proposals_are_kept(ingress: Ingress) -> None:
    async with ingress.database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.detected_parameters (environment, workflow, parameters, detected_by, detected_at)
            SELECT 'development', 'old' || n, '[]', 'anonymous', clock_timestamp() - interval '1 day'
            FROM generate_series(1, $1) n
            """,
            MAX_PROPOSALS,
        )
    await ingress.send("POST", GREET, json=SAMPLE)
    assert await ingress.fetchval("SELECT count(*) FROM penstock.detected_parameters") == MAX_PROPOSALS
    assert (await proposed(ingress)).status == 200
    first = await ingress.manage("GET", "/v1/development/detected?limit=500")
    second = await ingress.manage("GET", f"/v1/development/detected?limit=500&after={first.json['after']}")
    pages = (first.json["results"], second.json["results"])
    assert all(isinstance(page, list) and len(page) == 500 for page in pages)
    assert second.json["after"] is None


async def test_a_token_for_other_workflows_sees_no_proposal(ingress: Ingress) -> None:
    await ingress.send("POST", GREET, json=SAMPLE)
    made = await ingress.manage("POST", "/v1/development/tokens", json={"role": "operator", "workflows": ["look"]})
    bearer = {"Authorization": f"Bearer {made.json['token']}"}
    for method, path in (("GET", "detected/greet"), ("POST", "detected/greet/accept"), ("GET", "detected")):
        assert (await ingress.manage(method, f"/v1/development/{path}", headers=bearer)).status == 403


async def test_the_command_line_lists_and_accepts(ingress: Ingress, tmp_path: Path) -> None:
    assert (await ingress.send("POST", GREET, json=SAMPLE)).status == 200
    file = tmp_path / "greet.yaml"
    file.write_text("workflow: greet\nsteps: []\n")
    written = await penstock(ingress, "detected", "accept", "greet", "--write", str(file))
    assert written[0] == 0, written
    assert file.read_text() == f"workflow: greet\n{YAML}steps: []\n"
    assert await penstock(ingress, "detected", "accept", "greet") == (0, YAML)
    assert (await penstock(ingress, "detected", "accept", "greet", "--write", str(file)))[1].endswith(YAML)
    assert "times: number" in (await penstock(ingress, "detected", "list", "--json"))[1]
    assert (await penstock(ingress, "detected", "accept", "nothing"))[0] == 1


async def penstock(ingress: Ingress, *arguments: str) -> tuple[int, str]:
    """A command on this installation: its exit code, and what it printed."""
    environment = {"PENSTOCK_DATABASE_URL": ingress.settings.database_url, "NO_COLOR": "1"}
    outcome = await asyncio.to_thread(
        CliRunner().invoke, build_program(arguments), list(arguments), env=environment, catch_exceptions=False
    )
    return outcome.exit_code, outcome.stdout
