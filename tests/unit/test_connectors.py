"""Connectors as an author writes them: what is read, and what is refused with its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from penstock.definitions.connectors import find_base_url_problem, find_path_problem
from penstock.definitions.models import Connector
from penstock.reading.loader import load_files

APP = """app: shop
connectors:
  openai: {base_url: https://api.openai.com/v1, headers: {Authorization: "Bearer ${secrets.KEY}"}, timeout: 120s}
  inside: {base_url: "${secrets.INSIDE}", allow_private: true}
  some: {base_url: "http://10.1.2.3:8080", allow_private: [10.1.0.0/16, 192.168.7.9]}
"""


def problems(app: str = APP, step: str = "log: x") -> list[str]:
    files = {"app.yaml": app, "workflows/w.yaml": f"workflow: w\nsteps:\n- {step}\n"}
    return [str(problem) for problem in load_files({name: text.encode() for name, text in files.items()}).problems]


def test_connectors_are_read() -> None:
    app = load_files({"app.yaml": APP.encode()}).app
    assert app is not None
    assert app.connectors == {
        "openai": Connector(
            name="openai", base_url="https://api.openai.com/v1", headers={"Authorization": "Bearer ${secrets.KEY}"},
            timeout_seconds=120, place="app.yaml:3",
        ),
        "inside": Connector(name="inside", base_url="${secrets.INSIDE}", allow_private=True, place="app.yaml:4"),
        "some": Connector(
            name="some", base_url="http://10.1.2.3:8080", allow_private=("10.1.0.0/16", "192.168.7.9"),
            place="app.yaml:5"
        ),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("connector", "problem"),
    [
        ("{}", "the connector 'c' needs 'base_url'; such as base_url: https://api.example.com/v1"),
        (
            "{base_url: ftp://x}",
            "'base_url' cannot be called: it has to start with https:// or http:// and name a host",
        ),
        (
            "{base_url: https://}",
            "'base_url' cannot be called: it has to start with https:// or http:// and name a host",
        ),
        ("{base_url: 'https://x?a=1'}", "'base_url' cannot be called: it may have no query and no fragment"),
        ("{base_url: 'https://u:p@x'}", "'base_url' cannot be called: it holds a user or password"),
        ("{base_url: '${params.url}'}", "unknown name 'params'"),
        ("{base_url: https://x, timeout: 0s}", "'timeout': expected a duration above 0"),
        ("{base_url: https://x, tiemout: 5s}", "unknown key 'tiemout'; did you mean 'timeout'?"),
        ("{base_url: https://x, headers: {'a b': c}}", "'a b' is not the name of a header"),
        (
            "{base_url: https://x, headers: {Content-Length: '3'}}",
            "the header 'Content-Length' is set by the connection",
        ),
        ("{base_url: https://x, headers: {X: '${user._id}'}}", "unknown name 'user'"),
        ("{base_url: https://x, headers: {Authorization: Bearer k}}", "the file contains a secret"),
        ("{base_url: https://x, headers: {X: 3}}", "the header 'X': expected text"),
        ("{base_url: https://x, allow_private: 3}", "an entry of 'allow_private': expected text"),
        (
            "{base_url: https://x, allow_private: [10.0.0.0/33]}",
            "'10.0.0.0/33' is not a network; write true, or addresses and networks",
        ),
    ],
)
def test_what_is_wrong_with_a_connector_is_told_with_its_place(connector: str, problem: str) -> None:
    found = problems(f"app: shop\nconnectors:\n  c: {connector}\n")
    assert len(found) == 1, found
    assert found[0].startswith("app.yaml:3")
    assert problem in found[0]


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("call: opnai", "unknown connector 'opnai'; did you mean 'openai'?"),
        ("call: '${params.x}'", "the name of a connector cannot be computed"),
        ("call:", "'call' needs the name of a connector; one of those under connectors: in app.yaml"),
        (
            "{call: openai, path: //evil.example}",
            "cannot be the path of a call: it has to be a path below the connector's base_url",
        ),
        ("{call: openai, path: ../admin}", "'../admin' cannot be the path of a call: it may not go up with .."),
        ("{call: openai, paht: /x}", "unknown key 'paht'; did you mean 'path'?"),
        ("{call: openai, json: 1, body: x}", "json and body exclude each other"),
    ],
)
def test_what_is_wrong_with_a_call_is_told_with_its_place(step: str, problem: str) -> None:
    found = problems(step=step)
    assert len(found) == 1, found
    assert found[0].startswith("workflows/w.yaml:3")
    assert problem in found[0]


def test_an_app_without_connectors_is_told_where_they_stand() -> None:
    assert problems("app: shop", "call: x") == [
        "workflows/w.yaml:3: unknown connector 'x'; declare it in app.yaml under connectors:"
    ]


@pytest.mark.parametrize(
    "path", ["", "/", "chat/completions", "/models/a:generate", "/a%20b/ü", "/.well-known/x", "a//b", "/~me/x=1;b"]
)
def test_paths_that_stay_below_the_base_url(path: str) -> None:
    assert find_path_problem(path) is None


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/x", "https://evil.example", "HTTP://evil.example", "ftp://x", "..", "../x", "/a/../../x",
        "/a/./b", "/a/%2e%2e/b",
        "/a/.%2E/b", "/a/%252e%252e/b", "/a%2f..%2fb", "\\\\evil", "/a\\..\\b", "/a/%5c..%5cb", "/x?admin=1", "/x#y",
        "/a\nb", "/a%0d%0ab",
        "/%25252525252e",
    ],
)  # fmt: skip
def test_paths_that_might_lead_elsewhere(path: str) -> None:
    assert find_path_problem(path) is not None


@pytest.mark.parametrize(
    "path",
    ["orders?all=1", "orders/${run.id}?expand=1", "orders#${run.id}", "${run.id}/../x", "//${run.id}/x"],
)
def test_a_literal_part_of_a_path_that_leads_elsewhere_is_found_by_check(path: str) -> None:
    (problem,) = problems(step=f"call: openai\n  path: {path!r}")
    assert "cannot be the path of a call" in problem


@pytest.mark.parametrize(
    "path", ["orders/${run.id}", "${run.depth > 1 ? '?' : '#'}", "${run.id}${run.depth}", "a..${run.id}"]
)
def test_expressions_in_a_path_are_judged_when_they_are_known(path: str) -> None:
    assert problems(step=f"call: openai\n  path: {path!r}") == []


@pytest.mark.parametrize("url", ["https://x:99999999", "https://[::1", "https://a b", "https://a\\b", "//x", "x", ""])
def test_what_cannot_be_a_base_url(url: str) -> None:
    assert find_base_url_problem(url) is not None


@given(st.text(max_size=60) | st.text(alphabet="./\\%2eEfF5cC:@?#a", max_size=20))
def test_a_path_without_a_problem_stays_below_the_base_url(path: str) -> None:
    if find_path_problem(path) is None:
        url = URL(f"https://api.example.com/v1/{path.lstrip('/')}")
        assert url.origin() == URL("https://api.example.com")
        assert url.raw_path.startswith("/v1/")
        assert (url.query_string, url.fragment) == ("", "")
