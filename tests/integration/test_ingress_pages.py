"""What a browser finds on the two ports of an ingress, over real HTTP and without any token."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.ingress import Answer, Ingress, running_ingress, write_app

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PROGRAM = {"Accept": "*/*"}
HTML = "text/html; charset=utf-8"


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as running:
        yield running


async def _ask(ingress: Ingress, port: str, path: str, headers: dict[str, str], method: str = "GET") -> Answer:
    if port == "admin":
        return await ingress.manage(method, path, headers=headers)
    return await ingress.send(method, path, headers=headers)


@pytest.mark.parametrize("port", ["admin", "public"])
async def test_both_ports_have_a_first_page_and_a_description(ingress: Ingress, port: str) -> None:
    for path in ("/" if port == "public" else "/about", "/docs"):
        page = await _ask(ingress, port, path, BROWSER)
        assert (page.status, page.headers["content-type"]) == (200, HTML)
        assert b"<h1>Penstock" in page.body
    assert (await _ask(ingress, port, "/", BROWSER)).headers["content-type"] == HTML
    front = await _ask(ingress, port, "/", PROGRAM)
    assert (front.status, front.headers["content-type"], front.headers["vary"]) == (200, "application/json", "Accept")
    assert (front.json["documentation"], front.json["openapi"]) == ("/docs", "/openapi.json")
    document = await _ask(ingress, port, "/openapi.json", PROGRAM)
    assert (document.status, document.json["openapi"]) == (200, "3.1.0")
    head = await _ask(ingress, port, "/docs", BROWSER, "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert (await _ask(ingress, port, "/docs", BROWSER, "POST")).status == 405


async def test_only_the_admin_port_names_what_is_deployed(ingress: Ingress) -> None:
    admin = (await _ask(ingress, "admin", "/", PROGRAM)).json
    deployed = {"app": "integration", "version": 1, "workflows": 10}
    assert admin["environments"] == {"development": deployed, "live": deployed}
    assert (admin["database"], admin["broker"]) == (True, True)
    for headers in (PROGRAM, BROWSER):
        assert b"integration" not in (await _ask(ingress, "public", "/", headers)).body


async def test_a_prefix_of_an_environment_changes_nothing(ingress: Ingress) -> None:
    assert (await _ask(ingress, "public", "//version-test//docs", BROWSER)).headers["content-type"] == HTML
    assert (await _ask(ingress, "public", "/docs/more", BROWSER)).status == 404


async def test_a_host_that_is_none_still_gets_the_page(ingress: Ingress) -> None:
    page = await _ask(ingress, "admin", "/about", {**BROWSER, "Host": "no host:x"})
    assert (page.status, page.headers["content-type"]) in {(200, HTML), (400, "application/problem+json")}
