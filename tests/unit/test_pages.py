"""Pages for people: what is served to whom, and that a browser needs nothing else to show them."""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping

import pytest
from pydantic import JsonValue
from yarl import URL

from penstock_ingress.routes.openapi import describe_management
from penstock_ingress.routes.public_openapi import describe_public
from penstock_ingress.rules.front import Deployed, Serving, admin_as_html, admin_as_json, public_as_html
from penstock_ingress.rules.html import prefers_html
from penstock_ingress.rules.reference import render_reference
from penstock_ingress.rules.replies import Reply

HOSTILE = "<script>alert('x')</script>"
SERVING = Serving("1.2.3", has_broker=False, environments={"live": Deployed(HOSTILE, 7, 1)})
DOCUMENTS = {"management": describe_management, "public": describe_public}
PAGES: Mapping[str, Callable[[], Reply]] = {
    "admin front": lambda: admin_as_html(SERVING, URL("http://localhost:8081"), 8080),
    "public front": public_as_html,
    "management": lambda: render_reference(describe_management()),
    "public": lambda: render_reference(describe_public()),
}


@pytest.mark.parametrize(
    ("accept", "is_html"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html", True),
        ("TEXT/HTML; charset=utf-8", True),
        ("text/*", True),
        ("application/json, text/html;q=0.9", False),
        ("application/json;q=0.1, text/html;q=0.2", True),
        ("text/html;q=0", False),
        ("text/html;q=bogus", False),
        ("*/*", False),
        ("application/json", False),
        ("", False),
        (",;,=;q", False),
        (None, False),
    ],
)
def test_html_is_for_those_who_would_rather_have_it_than_json(accept: str | None, *, is_html: bool) -> None:
    assert prefers_html(accept) is is_html


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_for_nothing_else_and_may_not(name: str) -> None:
    reply = PAGES[name]()
    text = reply.body.decode()
    policy = reply.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in policy
    assert not re.search(r"<script|<img|<iframe|\bsrc=|\sstyle=|@import|url\(|\son\w+=", text)
    assert re.findall(r'<link [^>]*href="([^"]*)"', text) == ["data:,"], "or a browser asks for /favicon.ico"


def test_names_of_others_are_shown_as_they_are() -> None:
    page = admin_as_html(SERVING, URL("http://localhost:8081"), 8080).body.decode()
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    document: dict[str, JsonValue] = {
        "info": {"title": HOSTILE, "version": HOSTILE, "description": f"`{HOSTILE}`"},
        "paths": {HOSTILE: {HOSTILE: {"summary": HOSTILE, "operationId": HOSTILE, "tags": [HOSTILE]}}},
        "components": {"schemas": {HOSTILE: {"description": HOSTILE, "properties": {HOSTILE: {"const": HOSTILE}}}}},
    }
    assert "<script" not in render_reference(document).body.decode()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_operation_and_shape_is_on_the_page_and_every_link_leads_to_one(name: str) -> None:
    document = DOCUMENTS[name]()
    page = render_reference(document).body.decode()
    targets = set(re.findall(r'id="([^"]+)"', page))
    paths = document["paths"]
    assert isinstance(paths, dict)
    for path, operations in paths.items():
        assert f"<code>{path}</code>" in page
        assert isinstance(operations, dict)
        for operation in operations.values():
            assert isinstance(operation, dict)
            assert operation["operationId"] in targets
    assert {link.removeprefix("#") for link in re.findall(r'href="(#[^"]+)"', page)} <= targets


def test_the_first_page_names_what_is_deployed_and_what_is_away() -> None:
    nothing = Serving("1.2.3", has_broker=True, environments={"live": Deployed(None, 0, 0)})
    assert "nothing is deployed" in _text(admin_as_html(nothing, URL("http://localhost:8081"), 8080))
    away = Serving("1.2.3", has_broker=False, environments=None)
    assert _text(admin_as_html(away, URL("http://localhost:8081"), 8080)).count("cannot be reached") == 2
    assert b'"database":false' in admin_as_json(away).body


@pytest.mark.parametrize(
    ("origin", "public"),
    [("http://localhost:8081", "http://localhost:8080/"), ("http://[::1]:8081", "http://[::1]:8080/")],
)
def test_the_public_port_is_linked_on_the_host_that_was_asked(origin: str, public: str) -> None:
    page = admin_as_html(SERVING, URL(origin), 8080).body.decode()
    assert f'href="{public}"' in page
    assert f"{origin}/v1/development/runs" in page


def _text(reply: Reply) -> str:
    return re.sub(r"<[^>]+>", " ", reply.body.decode())
