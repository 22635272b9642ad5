"""`/meta` and `/meta/swagger.json` over real HTTP, for both environments."""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from tests.integration.ingress import ADMIN, Ingress, running_ingress, write_app

META, SWAGGER = "/api/1.1/meta", "/api/1.1/meta/swagger.json"
MORE = """
workflow: typed
label: Everything typed
parameters:
  who: user
  what: {type: order, optional: true}
  many: list of order
  where: geographic address
  on_sale: boolean
on: {api: {auth: user}}
steps:
  - return: {who: "${params.who}", count: 3, sale: "${params.on_sale}", text: "for ${params.who}"}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_app(tmp_path, more=MORE)


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, directory: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, directory) as running:
        yield running


def endpoints(answer: object) -> dict[str, dict[str, object]]:
    assert isinstance(answer, list)
    return {one["endpoint"]: one for one in answer}


async def test_meta_lists_what_is_exposed_in_bubbles_form(ingress: Ingress) -> None:
    answer = await ingress.send("GET", META)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json["get"] == ["order", "secret"]
    assert answer.json["app_data"] == {
        "appname": "integration",
        "app_version": "live",
        "use_captions_for_get": True,
    }
    post = endpoints(answer.json["post"])
    assert set(post) == {"greet", "look", "secretly", "quickly", "perhaps", "typed"}
    assert post["greet"]["parameters"] == [
        {"key": "name", "value": "text", "optional": False, "param_in": "body"},
        {"key": "times", "value": "number", "optional": True, "param_in": "body"},
        {"key": "tags", "value": "list.text", "optional": True, "param_in": "body"},
    ]
    assert post["look"]["method"] == "get"
    assert post["look"]["parameters"] == [
        {"key": "name", "value": "text", "optional": False, "param_in": "query"},
        {"key": "times", "value": "number", "optional": True, "param_in": "query"},
    ]
    levels = {name: one["auth_unecessary"] for name, one in post.items()}
    assert (levels["greet"], levels["typed"], levels["secretly"]) == (True, False, "admin_only")


async def test_meta_names_types_and_fields_as_bubble_does_inside(ingress: Ingress) -> None:
    answer = await ingress.send("GET", META)
    typed = endpoints(answer.json["post"])["typed"]
    assert isinstance(typed["parameters"], list)
    assert [known["value"] for known in typed["parameters"]] == [
        "user",
        "custom.order",
        "list.custom.order",
        "geographic_address",
        "boolean",
    ]
    assert typed["return_btype"] == {"who": "user", "count": "number", "sale": "boolean", "text": "text"}
    types = answer.json["types"]
    assert isinstance(types, dict)
    assert set(types) == {"order", "secret"}
    assert types["order"]["display"] == "order"
    assert types["order"]["fields"][:3] == [
        {"id": "number_number", "display": "number", "type": "number"},
        {"id": "name_text", "display": "name", "type": "text"},
        {"id": "tags_list_text", "display": "tags", "type": "list.text"},
    ]
    assert {"id": "Created By", "display": "Created By", "type": "user"} in types["order"]["fields"]


async def test_the_test_version_is_described_as_such(ingress: Ingress) -> None:
    answer = await ingress.send("GET", f"/version-test{META}")
    assert isinstance(answer.json["app_data"], dict)
    assert answer.json["app_data"]["app_version"] == "test"
    for prefix in ("", "/version-live", "/version-test", "/version-branch"):
        swagger = await ingress.send("GET", f"{prefix}{SWAGGER}")
        assert (swagger.status, swagger.json["basePath"]) == (200, f"{prefix}/api/1.1")


async def test_swagger_describes_every_exposed_path(ingress: Ingress) -> None:
    document = (await ingress.send("GET", SWAGGER)).json
    assert document["swagger"] == "2.0"
    assert document["securityDefinitions"] == {"api_token": {"type": "apiKey", "name": "api_token", "in": "query"}}
    paths = document["paths"]
    assert isinstance(paths, dict)
    workflows = {f"/wf/{name}" for name in ("greet", "look", "secretly", "quickly", "perhaps", "typed")}
    things = {f"/obj/{name}{end}" for name in ("order", "secret") for end in ("", "/{UniqueID}", "/bulk")}
    assert set(paths) == workflows | things
    for path in paths.values():
        for operation in path.values():
            failures = {"400", "401", "404", "405", "429", "500", "503"}
            assert set(operation["responses"]) - failures in ({"200"}, {"201"}, {"204"})
            assert set(operation["responses"]) >= failures
            assert operation["tags"] in (["Workflow"], ["Data"])
    body = paths["/wf/greet"]["post"]["parameters"]
    assert (body[0]["in"], body[0]["schema"]["required"]) == ("body", ["name"])
    assert [known["in"] for known in paths["/wf/look"]["get"]["parameters"]] == ["query", "query"]


async def test_where_nothing_is_deployed_nothing_is_listed(database_url: str, amqp_url: str) -> None:
    async with running_ingress(database_url, amqp_url, None) as empty:
        answer = await empty.send("GET", META)
        assert (answer.status, answer.json["get"], answer.json["post"], answer.json["types"]) == (200, [], [], {})
        assert (await empty.send("GET", SWAGGER)).json["paths"] == {}


async def test_wrong_tokens_and_methods_are_refused(ingress: Ingress) -> None:
    for path in (META, SWAGGER):
        assert (await ingress.send("GET", f"{path}?api_token=wrong")).status == 401
        assert (await ingress.send("POST", path)).status == 405


async def test_it_can_be_hidden_from_strangers(database_url: str, amqp_url: str, directory: Path) -> None:
    async with running_ingress(database_url, amqp_url, directory, hide_api_documentation=True) as hidden:
        for path in (META, SWAGGER):
            assert (await hidden.send("GET", path)).wrapped[:2] == (404, "NOT_FOUND")
            assert (await hidden.send("GET", path, headers=ADMIN)).status == 200


async def test_openapi_describes_each_workflow_and_type_that_is_exposed(ingress: Ingress) -> None:
    document = orjson.loads((await ingress.send("GET", "/openapi.json")).body)
    paths = document["paths"]
    assert document["info"]["title"] == "Penstock public API of integration"
    typed = paths["/api/1.1/wf/typed"]["post"]
    assert (typed["summary"], typed["description"]) == ("Everything typed", "For users and admins.")
    body = typed["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["who", "many", "where", "on_sale"]
    assert body["properties"]["many"] == {"type": "array", "items": {"type": "string"}}
    assert "workflow" not in {one["name"] for one in typed["parameters"]}
    look = paths["/api/1.1/wf/look"]
    assert set(look) == {"get"}
    assert [one["name"] for one in look["get"]["parameters"] if one["in"] == "query"]
    page = paths["/api/1.1/obj/order"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    thing = page["allOf"][1]["properties"]["response"]["properties"]["results"]["items"]
    assert thing == {"$ref": "#/components/schemas/thing_order"}
    assert "number" in document["components"]["schemas"]["thing_order"]["properties"]
    names = [one["operationId"] for item in paths.values() for one in item.values()]
    assert len(names) == len(set(names))
    assert "/api/1.1/wf/hidden" not in paths
    shown = await ingress.send("GET", "/docs")
    assert "Everything typed" in shown.body.decode()


async def test_openapi_names_nothing_to_strangers_where_that_is_hidden(
    database_url: str, amqp_url: str, directory: Path
) -> None:
    async with running_ingress(database_url, amqp_url, directory, hide_api_documentation=True) as ingress:
        for path in ("/openapi.json", "/docs"):
            hidden = await ingress.send("GET", path)
            assert (hidden.status, b"typed" in hidden.body) == (200, False)
            assert b"/api/1.1/wf/typed" in (await ingress.send("GET", path, headers=ADMIN)).body
