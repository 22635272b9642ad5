"""The wire format of the Data API, statement by statement as BUBBLE 2 and 3 make them, where no other test holds them:
URLs, keys, types of values, every constraint type on every type of field, tokens, users.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, cast
from urllib.parse import quote

import pytest

from penstock.testing.databases import fresh_database
from penstock.things.passwords import is_password
from tests.integration.ingress import ADMIN, ADMIN_TOKEN, Ingress, JsonObject, running_ingress
from tests.servers import Servers, fresh_vhost

EVERY: Final = "/api/1.1/obj/everything"
MANY: Final = "/api/1.1/obj/many"
ADA: Final = "1700000000000x100000000000000001"
APP = """
app: wire
options:
  status: [new, paid]
  priority: {low: {rank: 1}, high: {rank: 2}}
"""
TYPES = """
type: everything
display: Every Thing
api: true
fields:
  Unit name: text
  rooms: number
  paid: boolean
  built: date
  open: date range
  picture: image
  contract: file
  place: geographic address
  state: status
  urgency: priority
  owner: user
  tags: list of text
  sizes: list of number
  days: list of date
  owners: list of user
  states: list of status
---
type: many
api: true
fields: {rank: number}
---
type: user
api: true
fields: {name: text}
"""
VALUES: Final[JsonObject] = {
    "Unit name": "a", "rooms": 1.5, "paid": True, "built": "2022-12-22T09:45:37.369Z",
    "open": ["2022-01-01T00:00:00.000Z", "2022-02-01T00:00:00.000Z"], "picture": "//cdn.example.com/a.png",
    "contract": "https://example.com/b.pdf", "place": {"address": "Paris", "lat": 48.85, "lng": 2.35}, "state": "new",
    "urgency": "high", "owner": ADA, "tags": ["x", "y"], "sizes": [1, 2.5], "days": ["2022-12-22T00:00:00.000Z"],
    "owners": [ADA], "states": ["paid", "new"],
}  # fmt: skip
"""A value of each type, as it is written and as it is read."""
COMMON: Final = ("equals", "not equal", "is_empty", "is_not_empty", "in", "not in")
ORDER: Final = ("greater than", "less than")
WORDS: Final = ("text contains", "not text contains")
LISTS: Final = ("contains", "not contains", "empty", "not empty")
PLACE: Final = ("geographic_search",)
OF_LISTS: Final = (*COMMON, *LISTS)
FITTING: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "Unit name": ("unit_name_text", (*COMMON, *ORDER, *WORDS)),
    "rooms": ("rooms_number", (*COMMON, *ORDER)),
    "paid": ("paid_boolean", COMMON),
    "built": ("built_date", (*COMMON, *ORDER)),
    "open": ("open_date_range", COMMON),
    "picture": ("picture_image", COMMON),
    "place": ("place_geographic_address", (*COMMON, *PLACE)),
    "owner": ("owner_user", COMMON),
    "tags": ("tags_list_text", OF_LISTS),
    "sizes": ("sizes_list_number", OF_LISTS),
    "states": ("states_list_option_status", OF_LISTS),
    "state": ("state_option_status", COMMON),
    "_id": ("_id", (*COMMON, *ORDER, *WORDS)),
    "Created Date": ("Created Date", (*COMMON, *ORDER)),
    "Created By": ("Created By", COMMON),
}
"""By field: what Bubble calls it inside, and the constraint types that fit its type."""


@pytest.fixture(scope="module")
async def ingress(
    servers: Servers, database_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Ingress]:
    """One for all of them: each makes what it needs, and looks at nothing else."""
    directory: Path = tmp_path_factory.mktemp("wire")
    (directory / "app.yaml").write_text(APP)
    (directory / "types").mkdir()
    (directory / "types/all.yaml").write_text(TYPES)
    async with (
        fresh_database(servers.database_url, template=database_template) as database_url,
        fresh_vhost(servers) as amqp_url,
        running_ingress(database_url, amqp_url, directory) as running,
    ):
        await running.fetch(
            "INSERT INTO live.user (_id, created_date, modified_date, email) "
            "VALUES ($1, now(), now(), 'ada@example.com')",
            ADA,
        )
        await running.fetch(
            "INSERT INTO live.many (_id, created_date, modified_date, rank) "
            "SELECT '1700000000000x' || n, now() + n * interval '1 s', now(), n FROM generate_series(1, 103) n"
        )
        yield running


async def make(ingress: Ingress, values: object, path: str = EVERY) -> str:
    answer = await ingress.send("POST", path, json=values, headers=ADMIN)
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


def constraint(key: str, kind: str, value: object) -> str:
    return "constraints=" + quote(json.dumps([{"key": key, "constraint_type": kind, "value": value}]))


async def test_one_thing_byte_for_byte_with_a_value_of_every_type(ingress: Ingress) -> None:
    id = await make(ingress, VALUES)
    (row,) = await ingress.fetch("SELECT created_date, modified_date FROM live.everything WHERE _id = $1", id)
    created, modified = (f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z" for moment in row)
    answer = await ingress.send("GET", f"{EVERY}/{id}", headers=ADMIN)
    built_in = {
        "_id": id, "Created Date": created, "Modified Date": modified, "Created By": "admin_user_wire_live",
    }  # fmt: skip
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {"response": {**built_in, **VALUES}}
    body = answer.body
    assert body == json.dumps(answer.json, separators=(",", ":")).encode(), "as short as JSON can be"
    listed = await ingress.send("GET", f"{EVERY}?{constraint('_id', 'equals', id)}", headers=ADMIN)
    page = b'{"response":{"cursor":0,"results":[%s],"count":1,"remaining":0}}'
    assert listed.body == page % body.removeprefix(b'{"response":').removesuffix(b"}")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"state": "odd"}, "Invalid data for field state: expected one of new, paid"),
        ({"urgency": "rank"}, "Invalid data for field urgency: expected one of low, high"),
        ({"states": ["new", "odd"]}, "Invalid data for field states: item 1: expected one of new, paid"),
        ({"state": {"rank": 1}}, "Invalid data for field state: expected text, got object"),
        ({"owner": "nobody"}, "Invalid data for field owner: expected the id of a thing, such as 17000000"),
    ],
)
async def test_an_option_is_its_text_and_nothing_else(ingress: Ingress, given: JsonObject, message: str) -> None:
    answer = await ingress.send("POST", EVERY, json=given, headers=ADMIN)
    assert (answer.status, answer.wrapped[1]) == (400, "INVALID_DATA")
    assert answer.wrapped[2].startswith(message)


async def test_every_constraint_type_fits_its_types_of_fields_and_is_refused_byte_for_byte_for_others(
    ingress: Ingress,
) -> None:
    id = await make(ingress, VALUES)
    wrong = []
    for field, (internal, fitting) in FITTING.items():
        for kind in dict.fromkeys((*COMMON, *ORDER, *WORDS, *LISTS, *PLACE)):
            if field == "state" and kind in (*ORDER, *WORDS):
                continue  # it is a text here, which is more than Bubble says
            value = _value_for(kind, VALUES.get(field, {"_id": id, "Created By": ADA}.get(field, "2022-01-01")))
            answer = await ingress.send("GET", f"{EVERY}?{constraint(field, kind, value)}", headers=ADMIN)
            message = f"Constraint type not found {kind} for field {internal} and type everything"
            refusal = f'{{"statusCode":404,"body":{{"status":"NOT_FOUND","message":"{message}"}}}}'.encode()
            if (kind in fitting and answer.status != 200) or (kind not in fitting and answer.body != refusal):
                wrong.append((field, kind, answer.status, answer.body))
    assert wrong == []


def _value_for(kind: str, value: object) -> object:
    if kind in {"in", "not in"}:
        return [value]
    if kind in {"contains", "not contains"}:
        return value[0] if isinstance(value, list) else value
    return {"range": 1, "origin_address": {"lat": 48.85, "lng": 2.35}} if kind == "geographic_search" else value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Unit name", "keyed"), ("unitname", "keyed"), ("UNIT NAME", "keyed"), ("unit_name_text", "keyed"),
        ("urgency_option_priority", "low"), ("Created By", "admin_user_wire_live"),
        ("createdby", "admin_user_wire_live"), ("rooms_number", "7"), ("paid", "True"), ("paid_boolean", "yes"),
        ("built", "2024-01-02T00:00:00.000000Z"), ("built_date", 1704153600000), ("Slug", "keyed"), ("owner_user", ADA),
        ("tags", ["x"]), ("place", {"address": "Rome"}), ("place", "Rome"),
    ],
)  # fmt: skip
async def test_keys_may_be_names_ids_and_what_clients_make_of_them_and_values_texts(
    ingress: Ingress, key: str, value: object
) -> None:
    known = await ingress.fetchval("SELECT _id FROM live.everything WHERE slug = 'keyed'")
    id = known or await make(
        ingress,
        {
            "unit_name_text": "keyed", "rooms": "7", "paid": "True", "built": "2024-01-02", "urgency": "low",
            "Slug": "keyed", "owner_user": ADA, "tags": ["x"], "place": "Rome",
        },
    )  # fmt: skip
    both = quote(json.dumps([
        {"key": key, "constraint_type": "equals", "value": value},
        {"key": "_id", "constraint_type": "equals", "value": id},
    ]))  # fmt: skip
    answer = await ingress.send("GET", f"{EVERY}?constraints={both}", headers=ADMIN)
    assert (answer.status, answer.json["response"] if answer.status != 200 else ids_of(answer.json)) == (200, [id])


def ids_of(document: JsonObject) -> list[object]:
    results = cast("JsonObject", document["response"])["results"]
    return [thing["_id"] for thing in cast("list[JsonObject]", results)]


@pytest.mark.parametrize(
    ("query", "shown", "first"),
    [
        ("", (0, 100, 3), 1),
        ("limit=100", (0, 100, 3), 1),
        ("limit=101", (0, 100, 3), 1),
        ("limit=2147483647", (0, 100, 3), 1),
        ("limit=0", (0, 0, 103), None),
        ("limit=-1", (0, -1, 103), None),
        ("cursor=100", (100, 3, 0), 101),
        ("cursor=2147483647", (2147483647, 0, 0), None),
        ("cursor=-5", (0, 100, 3), 1),
        ("limit=2&cursor=1&descending=false&exclude_remaining=false", (1, 2, 100), 2),
        ("limit=2&sort_field=rank&descending=True", (0, 2, 101), 103),
        ("limit=2&exclude_remaining=True", (0, 2, None), 1),
        ("limit=2&sort_field=rank&geo_reference=&additional_sort_fields=", (0, 2, 101), 1),
    ],
)
async def test_the_page_that_is_asked_for(
    ingress: Ingress, query: str, shown: tuple[int, int, int | None], first: int | None
) -> None:
    answer = await ingress.send("GET", f"{MANY}?{query}", headers=ADMIN)
    response = cast("JsonObject", answer.json["response"])
    assert (response["cursor"], response["count"], response.get("remaining")) == shown
    results = cast("list[JsonObject]", response["results"])
    assert (results[0]["rank"] if results else None) == first


@pytest.mark.parametrize(
    ("prefix", "creator"),
    [
        ("", "admin_user_wire_live"),
        ("/version-live", "admin_user_wire_live"),
        ("//version-live/", "admin_user_wire_live"),
        ("/version-test", "admin_user_wire_test"),
        ("/version-my-branch", "admin_user_wire_test"),
    ],
)
async def test_prefixes_lead_to_the_things_of_their_environment(ingress: Ingress, prefix: str, creator: str) -> None:
    path = f"{prefix}{EVERY}"
    made = await ingress.send("POST", f"{path}?api_token={ADMIN_TOKEN}", json={"Unit name": prefix})
    assert made.status == 201, made.body
    shown = await ingress.send("GET", f"{path}/{made.json['id']}?api_token={ADMIN_TOKEN}")
    assert cast("JsonObject", shown.json["response"])["Created By"] == creator
    is_live = "test" not in creator
    assert (await ingress.send("GET", f"{EVERY}/{made.json['id']}", headers=ADMIN)).status == (200 if is_live else 404)


async def test_a_new_user_may_have_a_password_and_gets_no_token(ingress: Ingress) -> None:
    users, password = "/api/1.1/obj/user", "a good password"
    given = {"email": "New@Example.com", "password": password, "name": "New"}
    key = {**ADMIN, "Idempotency-Key": "new-user"}
    made = await ingress.send("POST", users, json=given, headers=key)
    assert (made.status, list(made.json)) == (201, ["status", "id"]), made.body
    (account,) = await ingress.fetch("SELECT user_id, email, password_hash FROM penstock.accounts")
    assert (account["user_id"], account["email"]) == (made.json["id"], "new@example.com")
    assert is_password(password, account["password_hash"])
    shown = cast(
        "JsonObject", (await ingress.send("GET", f"{users}/{made.json['id']}", headers=ADMIN)).json["response"]
    )
    assert (shown["email"], shown["name"], "password" in shown) == ("New@Example.com", "New", False)
    short, taken = {"email": "b@example.com", "password": "short"}, {"email": "ADA@example.com", "password": password}
    for body, query, message in (
        (short, "", "Invalid data for field password: a password has at least 8 characters"),
        ({**short, "password": "x" * 1025}, "", "Invalid data for field password: a password has at most 1024 bytes"),
        ({**short, "password": 12345678}, "", "Invalid data for field password: expected text"),
        (taken, "", "Invalid data for field email: somebody has this email already"),
        ({"email": "no email", "password": password}, "", "Invalid data for field email: "),
        ({**taken, "email": "b@example.com"}, "?upsert=email", "A password is for a new user: leave out `upsert`"),
    ):
        answer = await ingress.send("POST", f"{users}{query}", json=body, headers=ADMIN)
        assert answer.status == 400, (body, answer.body)
        assert answer.wrapped[2].startswith(message)
    stranger = await ingress.send("POST", users, json={"email": "c@example.com", "password": password})
    assert (stranger.status, stranger.json["translation"]) == (401, "Permission denied: cannot create this object")
    changed = await ingress.send("PATCH", f"{users}/{ADA}", json={"password": password}, headers=ADMIN)
    assert (changed.status, changed.wrapped[2]) == (400, "Unrecognized field: password")
    line = json.dumps({"email": "d@example.com", "password": password}).encode()
    bulk = await ingress.send("POST", f"{users}/bulk", data=line, headers={**ADMIN, "Content-Type": "text/plain"})
    assert bulk.body == b'{"status":"error","message":"Unrecognized field: password"}'
    assert await ingress.fetchval("SELECT count(*) FROM penstock.accounts") == 1
