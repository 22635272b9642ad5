"""Files in calls over real HTTP: stored, passed on as URLs, fetched by who knows them, and gone with a call in vain."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from penstock.store.tokens import NewToken, create_token
from tests.integration.ingress import ADMIN, Ingress, running_ingress, write_app
from tests.site import deploy_directory

TAKE = """
workflow: take
parameters: {receipt: file, pictures: {type: list of image, optional: true}, name: {type: text, optional: true}}
on: {api: {auth: public, respond: at_once}}
steps:
  - return: {}
"""
PATH = "/api/1.1/wf/take"
LARGE = bytes(range(256)) * 3000


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path, take=TAKE)) as running:
        yield running


def in_json(content: bytes = b"paid", name: str = "a b.html") -> dict[str, str]:
    return {"filename": name, "contents": base64.b64encode(content).decode()}


async def receipt_of(ingress: Ingress) -> str:
    parameters = await ingress.fetchval("SELECT parameters FROM penstock.runs ORDER BY created_at DESC LIMIT 1")
    assert isinstance(parameters, dict)
    return str(parameters["receipt"])


def path_of(ingress: Ingress, url: str) -> str:
    host = f"//127.0.0.1:{ingress.settings.port}"
    assert url.startswith(host + "/")
    return url.removeprefix(host)


async def count_files(ingress: Ingress) -> object:
    return await ingress.fetchval("SELECT count(*) FROM penstock.files")


@pytest.mark.parametrize("prefix", ["", "/version-test"])
async def test_a_file_of_a_form_is_stored_and_passed_on_as_a_url(ingress: Ingress, prefix: str) -> None:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("receipt", LARGE, filename="a b.html", content_type="text/html")
    form.add_field("name", "Ada")
    assert (await ingress.send("POST", prefix + PATH, data=form)).status == 202
    path = path_of(ingress, await receipt_of(ingress))
    assert path.startswith(f"{prefix}/fileupload/")
    assert path.endswith("/a%20b.html")
    fetched = await ingress.send("GET", path)
    assert (fetched.status, fetched.body) == (200, LARGE)
    assert fetched.headers["content-type"] == "text/html"
    assert fetched.headers["content-disposition"].startswith("attachment;")
    assert fetched.headers["x-content-type-options"] == "nosniff"
    assert fetched.headers["content-security-policy"].startswith("sandbox")
    assert "server" not in fetched.headers
    looked = await ingress.send("HEAD", path)
    assert (looked.status, looked.headers["content-length"], looked.body) == (200, str(len(LARGE)), b"")
    other = path.removeprefix(prefix) if prefix else f"/version-test{path}"
    assert (await ingress.send("GET", other)).status == 404


async def test_a_file_of_json_is_the_same_and_urls_stay_what_they_are(ingress: Ingress) -> None:
    pictures = ["//cdn.example.com/a.png", in_json(b"png", "b.png")]
    answer = await ingress.send("POST", PATH, json={"receipt": in_json(), "pictures": pictures})
    assert answer.status == 202
    assert (await ingress.send("GET", path_of(ingress, await receipt_of(ingress)))).body == b"paid"
    parameters = await ingress.fetchval("SELECT parameters FROM penstock.runs")
    assert isinstance(parameters, dict)
    assert parameters["pictures"][0] == "//cdn.example.com/a.png"
    assert (await ingress.send("GET", path_of(ingress, parameters["pictures"][1]))).body == b"png"
    expiry = await ingress.fetchval("SELECT bool_and(expires_at = 'infinity') FROM penstock.files")
    assert expiry is True


async def test_a_call_that_makes_no_run_leaves_no_file(ingress: Ingress) -> None:
    for wrong in ({"receipt": in_json(), "pictures": [1]}, {"receipt": {"contents": "?"}}, {"pictures": [in_json()]}):
        assert (await ingress.send("POST", PATH, json=wrong)).status == 400
    assert (await count_files(ingress), await ingress.count_runs()) == (0, 0)


async def test_a_copy_of_a_call_stores_its_files_once(ingress: Ingress) -> None:
    for _ in range(3):
        headers = {"Idempotency-Key": "one"}
        assert (await ingress.send("POST", PATH, json={"receipt": in_json()}, headers=headers)).status == 202
    assert (await count_files(ingress), await ingress.count_runs()) == (1, 1)
    assert (await ingress.send("GET", path_of(ingress, await receipt_of(ingress)))).body == b"paid"


async def test_a_call_that_meets_a_new_deployment_stores_its_files_once(ingress: Ingress, tmp_path: Path) -> None:
    assert (await ingress.send("POST", PATH, json={"receipt": in_json()})).status == 202
    other = "workflow: other\nsteps: []\n"
    await deploy_directory(ingress.database, write_app(tmp_path, take=TAKE, other=other))
    assert (await ingress.send("POST", PATH, json={"receipt": in_json()})).status == 202
    assert (await count_files(ingress), await ingress.count_runs()) == (2, 2)


async def test_files_that_are_not_public_are_not_served_to_strangers(ingress: Ingress) -> None:
    stored = await ingress.manage("POST", "/v1/live/files?name=a.csv", data=b"secret")
    for id in (stored.json["file"], "nonsense", "01234567-89ab-4def-8123-456789abcdef"):
        assert (await ingress.send("GET", f"/fileupload/{id}/a.csv")).status == 404
    assert (await ingress.send("POST", f"/fileupload/{stored.json['file']}/a.csv")).status == 405


async def test_an_operator_deletes_a_file(ingress: Ingress) -> None:
    await ingress.send("POST", PATH, json={"receipt": in_json()})
    path = path_of(ingress, await receipt_of(ingress))
    id = path.split("/")[2]
    assert (await ingress.manage("DELETE", f"/v1/live/files/{id}", headers={})).status == 401
    deleted = await ingress.manage("DELETE", f"/v1/live/files/{id}")
    assert (deleted.status, deleted.json["file"]) == (200, id)
    assert (await ingress.send("GET", path)).status == 404
    assert (await ingress.manage("DELETE", f"/v1/live/files/{id}", headers=ADMIN)).status == 404


async def test_urls_begin_with_the_public_url_where_one_is_set(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    directory = write_app(tmp_path, take=TAKE)
    async with running_ingress(database_url, amqp_url, directory, public_url="https://api.example.com/") as known:
        assert (await known.send("POST", PATH, json={"receipt": in_json()})).status == 202
        assert (await receipt_of(known)).startswith("https://api.example.com/fileupload/")


async def test_a_host_that_is_not_one_does_not_get_into_urls(ingress: Ingress) -> None:
    headers = {"Host": "evil.example/path?"}
    assert (await ingress.send("POST", PATH, json={"receipt": in_json()}, headers=headers)).status == 202
    assert (await receipt_of(ingress)).startswith("//localhost/fileupload/")


NOTE = """
type: note
fields: {text: text}
privacy:
  - name: owner
    when: {created_by: "${user._id}"}
    find: true
    view: all
"""
ADA, BOB = "1700000000000x100000000000000001", "1700000000000x100000000000000002"
NOTE_ID = "1700000000000x300000000000000001"


async def test_a_private_file_is_for_those_who_may_see_the_thing_it_belongs_to(
    ingress: Ingress, tmp_path: Path
) -> None:
    (tmp_path / "types" / "note.yaml").write_text(NOTE)
    await deploy_directory(ingress.database, tmp_path)
    await ingress.fetch(
        """INSERT INTO live."note" (_id, created_date, modified_date, created_by) VALUES ($1, now(), now(), $2)""",
        NOTE_ID,
        ADA,
    )
    await ingress.fetch(
        """INSERT INTO live."user" (_id, created_date, modified_date) VALUES ($1, now(), now()), ($2, now(), now())""",
        ADA,
        BOB,
    )
    tokens = {}
    async with ingress.database.connection() as conn:
        for user in (ADA, BOB):
            tokens[user], _ = await create_token(conn, NewToken(user_id=user, environment="live"), actor="test")
    body = {"receipt": {**in_json(), "private": True, "attach_to": NOTE_ID}}
    assert (await ingress.send("POST", PATH, json=body)).status == 202
    path = path_of(ingress, await receipt_of(ingress))
    of_ada, of_other = ({"Authorization": f"Bearer {token}"} for token in tokens.values())
    seen = {"a stranger": {}, "the owner": of_ada, "another user": of_other, "an admin": ADMIN}
    statuses = {who: (await ingress.send("GET", path, headers=headers)).status for who, headers in seen.items()}
    assert statuses == {"a stranger": 404, "the owner": 200, "another user": 404, "an admin": 200}
    assert (await ingress.send("GET", path, headers={"Authorization": "Bearer nobodys"})).status == 401
    id = path.split("/")[-2]
    link = await ingress.manage("POST", f"/v1/live/files/{id}/link")
    assert (await ingress.send("GET", str(link.json["url"]))).status == 200
    await ingress.fetch("""DELETE FROM live."note" """)
    assert (await ingress.send("GET", path, headers=of_ada)).status == 404, "there is nothing left to see"

    for attach_to, reason in (
        ("1700000000000x1", "there is no thing"),
        (7, "the id of a thing"),
        ("a\x00", "no thing"),
    ):
        wrong = {"receipt": {**in_json(), "private": True, "attach_to": attach_to}}
        refused = await ingress.send("POST", PATH, json=wrong)
        assert refused.status == 400, refused.body
        assert reason in refused.wrapped[2]
    assert await count_files(ingress) == 1
