"""Workflows read under the rules of the one for whom they run, whatever kind of step reads."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from pydantic import JsonValue

from penstock.db import Record
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House
from tests.integration.privacy.documents import ADA, BOB

TYPES = """
type: user
fields: {team: text, salary: number}
privacy:
  - name: self
    when: {_id: "${user._id}"}
    view: [email]
---
type: document
fields: {title: text, size: number, secret: text, owner: user}
unique: [title]
privacy:
  - name: creator
    when: {created_by: "${user._id}"}
    find: true
    view: all
  - everyone: {find: false, view: [title, size]}
---
type: note
fields: {title: text, secret: text, document: document}
privacy:
  - everyone: {find: true, view: [title, document]}
"""
EVERYTHING_READ = """
workflow: w
parameters: {document: document, other: document, note: note, key: text}
ignore_privacy: IGNORE
on:
  api: {auth: public}
steps:
  - id: found
    find: document
    sort: size
  - id: one
    get: document
    thing: "${params.document}"
  - id: hidden
    get: document
    thing: "${params.other}"
  - id: where
    get: document
    where: {title: other}
  - id: count
    count: document
  - id: sum
    aggregate: document
    sum: [size]
  - id: notes
    find: note
  - id: changed
    update: "${params.note}"
    set: {title: "new ${params.key}"}
  - id: upserted
    create: document
    upsert: [title]
    set: {title: other, size: 9}
  - id: many
    update_many: document
    where: {}
    set: {size: 5}
  - return:
      found: "${map(steps.found.results, #.title)}"
      one: "${steps.one}"
      hidden: "${steps.hidden}"
      where: "${steps.where}"
      count: "${steps.count}"
      sum: "${steps.sum}"
      notes: "${steps.notes.results}"
      changed: "${steps.changed}"
      upserted: "${steps.upserted}"
      many: "${steps.many}"
      through: "${params.note.document.secret}"
      user: "${user}"
"""
OWN, OTHER, NOTE = (f"1700000000000x40000000000000000{number}" for number in range(3))
STRANGER: dict[str, JsonValue] = {"request": {}, "user": {}}


async def open_app(house: House, workflows: str) -> None:
    """Deploy, with two users, a document of each of them, and a note."""
    await house.deploy(workflows, types=TYPES)
    for id, team in ((ADA, "red"), (BOB, "blue")):
        await house.fetch(
            f"""
            INSERT INTO {ENVIRONMENT}."user" (_id, created_date, modified_date, email, team, salary)
            VALUES ($1, now(), now(), $1 || '@example.com', $2, 1000)
            """,
            id,
            team,
        )
    for id, title, size, by in ((OWN, "own", 2, ADA), (OTHER, "other", 3, BOB)):
        await house.fetch(
            f"""
            INSERT INTO {ENVIRONMENT}.document (_id, created_date, modified_date, created_by, title, size, secret)
            VALUES ($1, now(), now(), $4, $2, $3, 'secret')
            """,
            id,
            title,
            size,
            by,
        )
    await house.fetch(
        f"""
        INSERT INTO {ENVIRONMENT}.note (_id, created_date, modified_date, title, secret, document)
        VALUES ($1, now(), now(), 'note', 'secret', $2)
        """,
        NOTE,
        OTHER,
    )


@pytest.fixture
async def services(house: House) -> AsyncIterator[House]:
    async with house.services():
        yield house


async def perform(house: House, workflow: str, context: dict[str, JsonValue] | None, **given: JsonValue) -> Record:
    """A run with this context, when it has ended."""
    (run,) = await house.admit(workflow, given, context=context)
    await house.publisher.dispatch([run])
    return await house.ended(run.id)


async def read_everything(house: House, context: dict[str, JsonValue] | None, *, ignores: bool = False) -> Record:
    await open_app(house, EVERYTHING_READ.replace("IGNORE", str(ignores).lower()))
    run = await perform(house, "w", context, document=OWN, other=OTHER, note=NOTE, key="key")
    assert run["state"] == "succeeded", run["error"]
    return run


async def test_a_users_run_reads_what_the_user_may(services: House) -> None:
    result = (await read_everything(services, {"request": {}, "user": {"_id": ADA}}))["result"]
    assert result["found"] == ["own"]
    assert (result["one"]["secret"], result["hidden"], result["where"]) == ("secret", None, None)
    assert (result["count"], result["sum"], result["many"]) == (1, [{"count": 1, "sum_size": 2}], 1)
    assert result["notes"] == [{"_id": NOTE, "title": "note", "document": OTHER}]
    assert result["changed"] == {"_id": NOTE, "title": "new key", "document": OTHER}
    assert result["upserted"] == {"_id": OTHER, "title": "other", "size": 9}
    assert (result["through"], result["user"]) == (None, {"_id": ADA, "email": f"{ADA}@example.com"})
    sizes = await services.fetch(f"SELECT size::int FROM {ENVIRONMENT}.document ORDER BY _id")
    assert [row["size"] for row in sizes] == [5, 9]


@pytest.mark.parametrize(
    "context",
    [None, {"request": {}, "user": {"_id": "admin_user_house_test"}}, {"change": {}, "user": {"_id": ADA}}],
    ids=["nobody outside", "an admin", "a change"],
)
async def test_runs_of_admins_changes_and_the_app_itself_read_everything(
    services: House, context: dict[str, JsonValue] | None
) -> None:
    result = (await read_everything(services, context))["result"]
    assert (result["found"], result["count"], result["many"]) == (["own", "other"], 2, 2)
    assert (result["hidden"]["secret"], result["through"]) == ("secret", "secret")
    assert result["changed"]["secret"] == "secret"


async def test_ignore_privacy_reads_everything_for_strangers_too(services: House) -> None:
    result = (await read_everything(services, STRANGER, ignores=True))["result"]
    assert (result["found"], result["hidden"]["secret"], result["user"]) == (["own", "other"], "secret", None)


@pytest.mark.parametrize("context", [STRANGER, {"webhook": {}, "user": {}}, {"webhook": {}}, {"request": {}}])
async def test_strangers_and_webhooks_read_what_everyone_may(services: House, context: dict[str, JsonValue]) -> None:
    result = (await read_everything(services, context))["result"]
    assert (result["found"], result["one"], result["count"], result["many"]) == ([], None, 0, 0)
    assert result["notes"] == [{"_id": NOTE, "title": "note", "document": OTHER}]


async def test_a_search_by_a_hidden_field_fails_and_names_no_value(services: House) -> None:
    await open_app(services, "workflow: w\nsteps:\n  - {find: note, sort: secret, limit: 1}")
    run = await perform(services, "w", STRANGER)
    assert run["state"] == "failed"
    assert "The field secret of type note is hidden here by privacy rules" in run["error"]["message"]


async def result_of(house: House, run_id: str) -> dict[str, Any]:
    """What a run returned that may not be admitted yet."""

    async def look() -> dict[str, Any]:
        row = await house.fetchval("SELECT result FROM penstock.runs WHERE id = $1 AND finished_at IS NOT NULL", run_id)
        assert isinstance(row, dict)
        return row

    return await eventually(look)


async def test_children_of_a_strangers_run_stay_a_strangers(services: House) -> None:
    await open_app(
        services,
        """
workflow: outer
steps:
  - id: child
    schedule: inner
  - return: {child: "${steps.child}"}
---
workflow: inner
steps:
  - id: count
    count: document
  - id: child
    schedule: innermost
  - return: {count: "${steps.count}", child: "${steps.child}"}
---
workflow: innermost
steps:
  - id: count
    count: document
  - return: {count: "${steps.count}"}
""",
    )
    contexts: list[tuple[dict[str, JsonValue] | None, int]] = [
        (STRANGER, 0), ({"request": {}, "user": {"_id": BOB}}, 1), (None, 2),
    ]  # fmt: skip
    for context, count in contexts:
        run = await perform(services, "outer", context)
        inner = await result_of(services, run["result"]["child"])
        innermost = await result_of(services, inner["child"])
        assert (inner["count"], innermost["count"]) == (count, count)


async def test_a_triggered_workflow_has_its_own_word_on_privacy(services: House) -> None:
    await open_app(
        services,
        """
workflow: outer
steps:
  - id: inner
    trigger: inner
  - id: count
    count: document
  - return: {own: "${steps.count}", inner: "${steps.inner.count}"}
---
workflow: inner
ignore_privacy: true
steps:
  - id: count
    count: document
  - return: {count: "${steps.count}"}
""",
    )
    assert (await perform(services, "outer", STRANGER))["result"] == {"own": 0, "inner": 2}


async def read_file(house: House, id: str) -> str:
    rows = await house.fetch("SELECT content FROM penstock.file_chunks WHERE file_id = $1 ORDER BY position", UUID(id))
    return b"".join(bytes(row["content"]) for row in rows).decode()


async def test_exports_leave_out_what_is_hidden(services: House) -> None:
    await open_app(
        services,
        """
workflow: w
parameters: {format: text}
steps:
  - id: documents
    export: document
    format: "${params.format}"
  - id: notes
    export: note
    format: "${params.format}"
  - return: {documents: "${steps.documents.file}", notes: "${steps.notes.file}"}
""",
    )
    for format in ("csv", "jsonl"):
        run = await perform(services, "w", {"request": {}, "user": {"_id": ADA}}, format=format)
        assert run["state"] == "succeeded", run["error"]
        documents, notes = [await read_file(services, run["result"][name]) for name in ("documents", "notes")]
        assert ("own" in documents, "other" in documents, "secret" in documents) == (True, False, True)
        assert "note" in notes
        assert notes.count("secret") == (1 if format == "csv" else 0)  # the name of the column


async def test_workflows_that_only_write_work_for_users_too(services: House) -> None:
    await open_app(
        services,
        """
workflow: plain
steps:
  - id: made
    create: document
    set: {title: new, secret: a}
  - return: {made: "${steps.made}"}
---
workflow: upserting
steps:
  - id: made
    create: document
    upsert: [title]
    set: {title: other}
  - return: {made: "${steps.made}"}
""",
    )
    of_bob: dict[str, JsonValue] = {"request": {}, "user": {"_id": BOB}}
    of_ada: dict[str, JsonValue] = {"request": {}, "user": {"_id": ADA}}
    for context, shown in ((of_ada, {"title", "size"}), (of_bob, {"title", "size", "secret"}), (STRANGER, {"title"})):
        made = (await perform(services, "plain", context))["result"]["made"]
        assert (made["title"], made["secret"]) == ("new", "a")
        await services.fetch(f"DELETE FROM {ENVIRONMENT}.document WHERE _id = $1", made["_id"])
        changed = (await perform(services, "upserting", context))["result"]["made"]
        assert changed["_id"] == OTHER
        assert shown <= changed.keys()
        assert ("secret" in changed) == ("secret" in shown)
