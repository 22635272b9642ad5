"""The first page of each port: what this is, what runs, and where to read on. As HTML for people, as JSON for
programs.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Final

from yarl import URL

from penstock_ingress.rules.html import element, link, page, prose, rows
from penstock_ingress.rules.replies import Reply, json_reply

_WHAT: Final = (
    "Penstock runs backend workflows on your own servers. Webhooks, API calls, schedules and changes start them. Every "
    "step is remembered, and no chain of runs grows beyond its limits."
)
_VARY: Final = {"Vary": "Accept"}
_COMMANDS: Final = (
    ("penstock run WORKFLOW -p key=value", "start a run"),
    ("penstock runs list", "the runs, the newest first"),
    ("penstock runs show ID", "what happened in a run"),
    ("penstock schedule list", "what is coming"),
    ("penstock recurrences list", "what recurs"),
    ("penstock settings show", "limits and policies"),
    ("penstock doctor", "whether all is well"),
    ("penstock --help", "all commands"),
)
_ADMIN_PLACES: Final = (
    ("/v1/{environment}", "the management API, with an admin token"),
    ("/healthz", "whether this process lives"),
    ("/readyz", "whether it can work"),
    ("/metrics", "figures for Prometheus"),
)
_PUBLIC_PLACES: Final = (
    ("POST", "/api/1.1/wf/{workflow}", "call an API workflow"),
    ("GET", "/api/1.1/runs/{id}", "what became of a call"),
    ("GET", "/api/1.1/obj/{type}", "things of a type (Data API)"),
    ("GET", "/api/1.1/meta", "which workflows and types there are"),
    ("POST", "/webhooks/{source}", "deliver a webhook"),
)


@dataclass(frozen=True, slots=True)
class Deployed:
    """What an environment holds: the app's name (None when nothing is deployed), its version, its workflows."""

    app: str | None
    version: int
    workflows: int


@dataclass(frozen=True, slots=True)
class Serving:
    """What an ingress serves. `environments` is None when the database cannot be asked."""

    version: str
    has_broker: bool
    environments: Mapping[str, Deployed] | None


def admin_as_json(serving: Serving) -> Reply:
    """The first page of the admin port, for a program."""
    environments = {name: asdict(deployed) for name, deployed in (serving.environments or {}).items()}
    document = {
        "name": "Penstock",
        "version": serving.version,
        "environments": environments,
        "database": serving.environments is not None,
        "broker": serving.has_broker,
        "documentation": "/docs",
        "openapi": "/openapi.json",
        "places": dict(_ADMIN_PLACES),
    }
    return json_reply(200, document, _VARY)


def admin_as_html(serving: Serving, origin: URL, public_port: int) -> Reply:
    """The same for a person. `origin` is what they reached it by; the public port is on the same host."""
    public = str(origin.with_port(public_port).with_path("/"))
    request = f'curl -H "Authorization: Bearer $PENSTOCK_ADMIN_TOKEN" {origin.with_path("/v1/development/runs")}'
    places = (
        (link("/docs"), "the management API, described"),
        (link("/openapi.json"), "the same for programs (OpenAPI 3.1)"),
        (link(public), "the public port: webhooks, API workflows, Data API"),
        *((link(path) if "{" not in path else element("code", path), escape(text)) for path, text in _ADMIN_PLACES),
    )
    body = "\n".join(
        (
            element("h1", "Penstock"),
            element("p", _WHAT),
            element("h2", "What runs"),
            rows(_list_states(serving)),
            element("h2", "Where to go"),
            rows(places),
            element("h2", "Commands"),
            rows((element("code", command), escape(text)) for command, text in _COMMANDS),
            element("h2", "From a program"),
            f"<p>{prose('With an admin token, which `penstock up` prints, or PENSTOCK_ADMIN_TOKEN sets.')}</p>",
            element("pre", request),
        )
    )
    return page("Penstock", body)


def public_as_json() -> Reply:
    """The first page of the public port, for a program. It says nothing about the installation."""
    document = {
        "name": "Penstock",
        "documentation": "/docs",
        "openapi": "/openapi.json",
        "places": {f"{method} {path}": text for method, path, text in _PUBLIC_PLACES},
    }
    return json_reply(200, document, _VARY)


def public_as_html() -> Reply:
    """The same for a person."""
    body = "\n".join(
        (
            element("h1", "Penstock"),
            element("p", _WHAT),
            element("p", "This port is for webhooks and API calls. Operators use another one."),
            element("h2", "What can be asked here"),
            rows(
                (f'<span class="method">{method}</span> <code>{escape(path)}</code>', escape(text))
                for method, path, text in _PUBLIC_PLACES
            ),
            element("p", "These paths are live. Behind /version-test they are those of development."),
            element("h2", "Where to go"),
            rows(
                (
                    (link("/docs"), "all of it, described"),
                    (link("/openapi.json"), "the same for programs (OpenAPI 3.1)"),
                )
            ),
        )
    )
    return page("Penstock", body)


def _list_states(serving: Serving) -> list[tuple[str, str]]:
    states = [("Penstock", escape(serving.version))]
    for name, deployed in (serving.environments or {}).items():
        count = f"{deployed.workflows} workflow{'' if deployed.workflows == 1 else 's'}"
        app = "nothing is deployed" if deployed.app is None else f"{deployed.app}, version {deployed.version}, {count}"
        states.append((escape(name), escape(app)))
    states.append(("database", "answers" if serving.environments is not None else "cannot be reached"))
    states.append(("broker", "connected" if serving.has_broker else "cannot be reached"))
    return states
