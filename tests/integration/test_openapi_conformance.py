"""What both ports answer is what their documents say, whatever is sent: schemathesis makes requests from the documents,
valid ones and invalid ones, with and without a token, and compares each answer with the document.

No executor runs, so runs stay as they were admitted.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, CheckFunction, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from penstock.domain.ids import new_thing_id
from penstock.reading.loader import load_app
from penstock.things.records import NewThing, create_things
from tests.integration.ingress import ADMIN, APP_YAML, SECRETS, Ingress, running_ingress, sign_stripe, write_app

AnyOperation = APIOperation[Any, Any, Any, Any]
AnyCase = Case[AnyOperation]
CHECKS: list[CheckFunction] = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
]  # fmt: skip
EXAMPLES = {"admin": 7, "viewer": 3, "wrong": 1, "none": 1}
"""How many requests of each operation by each caller, to each prefix of the port."""
MANAGEMENT_STATUSES = {
    "admin": {200, 201, 202, 400, 404, 422},
    "viewer": {200, 403},
    "wrong": {401, 429},
    "none": {401},
}
PUBLIC_STATUSES = {"admin": {200, 202, 400, 404}, "viewer": {200}, "wrong": {401, 429}, "none": {200, 404}}
"""What has to come at least, or the requests were too much alike."""
CONFIG = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
MAX_WRONG_TOKENS = 10
ANSWER_SECONDS = 30
HERE = "/v1/development/"
GREETING = {"workflow": "greet", "parameters": {"name": "Ada"}}
BODIES: Mapping[str, object] = {
    "runs": GREETING,
    "recurrences": {**GREETING, "cron": "@daily"},
    "schedule/{id}/move": {"after": "2h"},
}
QUERIES = {"recurrences/next": {"cron": "@daily"}}
"""Of operations by their path behind the environment, what random values rarely meet."""


@dataclass(frozen=True)
class Known:
    """What there is to ask for: path parameters by the first segment that follows the prefix."""

    paths: Mapping[str, list[dict[str, str]]]

    def of(self, path: str) -> list[dict[str, str]]:
        """Path parameters that lead to something."""
        names = {name for name in ("environment", "id", "name", "workflow", "type", "source") if f"{{{name}}}" in path}
        kind = path.removeprefix("/v1/{environment}/").removeprefix("/api/1.1/").strip("/").split("/")[0]
        choices = self.paths.get(kind, []) if names - {"environment"} else [{}]
        return [
            {name: value for name, value in {"environment": "development", **choice}.items() if name in names}
            for choice in choices
        ]


@pytest.fixture
async def ingress(
    database_url: str, amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Ingress]:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    bounds = {"respond_timeout_seconds": 0.02, "max_wrong_tokens": MAX_WRONG_TOKENS}
    app = write_app(tmp_path)
    (app / "app.yaml").write_text(f"{APP_YAML}  open: {{scheme: none}}\n")
    async with running_ingress(database_url, amqp_url, app, **bounds) as running:
        yield running


@pytest.fixture
async def known(ingress: Ingress, tmp_path: Path) -> Known:
    """One thing of each kind that has an id."""

    async def make(path: str, body: object, key: str = "id") -> str:
        answer = await ingress.manage("POST", HERE + path, json=body)
        assert answer.status < 300, answer
        return str(answer.json[key])

    runs = [await make("runs", GREETING) for _ in range(3)]
    await ingress.finish_run(runs[1], "failed", error={"code": "http", "message": "refused"})
    await ingress.finish_run(runs[2], result={"greeting": "hello"})
    called = await ingress.send("POST", "/version-test/api/1.1/wf/quickly", headers=ADMIN)
    later = await make("runs", {**GREETING, "after": "1h"})
    daily = await make("recurrences", {**GREETING, "cron": "@daily"})
    detected = "/version-test/api/1.1/wf/greet/initialize"
    assert (await ingress.send("POST", detected, json={"name": "Ada"}, headers=ADMIN)).status == 200
    body, signed = sign_stripe({"id": "evt_1", "type": "invoice.paid"})
    delivered = await ingress.send("POST", "/version-test/webhooks/stripe", data=body, headers=signed)
    stored = await ingress.manage("POST", HERE + "files?name=a.txt", data=b"content")
    ids = {
        "runs": [*runs, str(called.json["run_id"])],
        "chains": runs[:1],
        "recurrences": [daily],
        "schedule": [later, daily],
        "tokens": [await make("tokens", {"role": "viewer", "label": "to be ended"})],
        "deliveries": [str(delivered.json["delivery_id"])],
        "files": [str(stored.json["file"])],
        "operations": [await make("runs/cancel", {"workflow": "hidden"})],
    }
    names = {"workflows": "greet", "detected": "greet", "signals": "paid"}
    workflows = ("greet", "look", "quickly", "perhaps", "secretly")
    return Known(
        {
            **{kind: [{"id": id} for id in found] for kind, found in ids.items()},
            **{kind: [{"name": name}] for kind, name in names.items()},
            "wf": [{"workflow": name} for name in workflows],
            "obj": [{"type": "order", "id": await make_order(ingress, tmp_path)}],
            "webhooks": [{"source": name} for name in ("stripe", "partner", "open")],
        }
    )


async def make_order(ingress: Ingress, directory: Path) -> str:
    """The id of a thing in development."""
    app, id = load_app(directory).app, new_thing_id()
    assert app is not None
    things = [NewThing(id, {"number": 1, "name": "Ada's"})]
    async with ingress.database.connection() as conn:
        await create_things(conn, environment="development", data_type=app.types["order"], things=things)
    return id


@pytest.fixture
async def headers(ingress: Ingress, caller: str) -> dict[str, str]:
    """The headers by which a caller is known."""
    if caller == "viewer":
        made = await ingress.manage("POST", HERE + "tokens", json={"role": "viewer", "label": "fuzz"})
        return {"Authorization": f"Bearer {made.json['token']}"}
    return {"admin": ADMIN, "wrong": {"Authorization": "Bearer a-token-that-nobody-has"}, "none": {}}[caller]


@pytest.mark.parametrize("caller", EXAMPLES)
async def test_the_management_api_answers_as_documented(
    ingress: Ingress, known: Known, headers: dict[str, str], caller: str
) -> None:
    explorer = Explorer(ingress.admin_url, headers, known, EXAMPLES[caller])
    await asyncio.to_thread(explorer.explore)
    assert explorer.statuses >= MANAGEMENT_STATUSES[caller]


@pytest.mark.parametrize("caller", EXAMPLES)
async def test_the_public_api_answers_as_documented(
    ingress: Ingress, known: Known, headers: dict[str, str], caller: str
) -> None:
    explorer = Explorer(ingress.url, headers, known, EXAMPLES[caller], prefixes=("", "/version-test"))
    await asyncio.to_thread(explorer.explore)
    assert explorer.statuses >= PUBLIC_STATUSES[caller]


@dataclass
class Explorer:
    """Sends requests of every operation that the document of a port has, and compares the answers with it."""

    url: str
    headers: Mapping[str, str]
    known: Known
    examples: int
    prefixes: Sequence[str] = ("",)
    statuses: set[int] = field(default_factory=set)

    def explore(self) -> None:
        """Raises AssertionError with all that differs from the document, by operation."""
        failures: list[str] = []
        with requests.Session() as session:
            document = session.get(f"{self.url}/openapi.json", timeout=ANSWER_SECONDS).json()
            schema = schemathesis.openapi.from_dict(document, config=CONFIG)
            found = [schema[path][method] for path, methods in document["paths"].items() for method in methods]
            found = [one for one in found if self.ends(one)]
            found.sort(key=lambda one: one.method == "delete")  # last, for until then the others need what there is
            for operation in found:
                try:
                    self._try(operation, session)
                except FailureGroup as failure:
                    failures.append(f"{operation.label}: {failure.message}")
        assert not failures, "\n".join(failures)

    def ends(self, operation: AnyOperation) -> bool:
        """Whether there is an end to the answer: a stream of events has none for those who may follow it."""
        return self.examples == EXAMPLES["none"] or not operation.path.endswith("/stream")

    def _try(self, operation: AnyOperation, session: requests.Session) -> None:
        """Raises FailureGroup unless all requests are answered as documented."""

        @settings(
            max_examples=self.examples * len(self.prefixes),
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(self._cases(operation), st.sampled_from(self.prefixes))
        def check(case: AnyCase, prefix: str) -> None:
            response = case.call(
                self.url + prefix, session, dict(self.headers), allow_redirects=False, timeout=ANSWER_SECONDS
            )
            self.statuses.add(response.status_code)
            case.validate_response(response, CHECKS)

        check()

    def _cases(self, operation: AnyOperation) -> st.SearchStrategy[AnyCase]:
        """Requests as documented, of what there is and of what there is not, and others."""
        path = operation.path.removeprefix("/v1/{environment}/")
        body = BODIES.get(path, NOT_SET) if operation.method == "post" else NOT_SET
        known = [
            operation.as_strategy(path_parameters=choice, body=body, query=QUERIES.get(path))
            for choice in self.known.of(operation.path)
        ]
        others = [operation.as_strategy(mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]
        return st.one_of(st.one_of(known), st.one_of(known), *others) if known else st.one_of(others)
