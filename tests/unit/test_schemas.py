"""The JSON Schemas of app files: editors see what the reader takes, no more keys and no fewer, and what is wrong with
what is not.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from jsonschema import Draft202012Validator
from pydantic import JsonValue

from penstock.reading.actions import ACTIONS
from penstock.reading.documents import read_documents, to_json
from penstock.reading.loader import Severity, load_files
from penstock.reading.places import Report
from penstock.reading.schemas import Schema, build_schemas
from penstock.reading.schemas.forms import FORMS
from penstock.webhooks.provider_table import PROVIDERS
from penstock.webhooks.recipes import Secrets

ROOT = Path(__file__).parents[2]
SCHEMAS = build_schemas()
KINDS = {"app.yaml": "app", "types": "type", "workflows": "workflow"}
APPS = sorted({path.parent for folder in ("examples", "tests") for path in (ROOT / folder).rglob("app.yaml")})


def validate(kind: str, text: str) -> list[str]:
    """What the schema has against each document of a file."""
    report = Report()
    documents = [to_json(node) for node in read_documents("file.yaml", text.encode(), report)]
    assert not report.problems, report.problems
    validator = Draft202012Validator(SCHEMAS[f"{kind}.schema.json"])
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
        for one in documents
        for error in validator.iter_errors(one)
    ]


def files_of(app: Path) -> Iterator[tuple[str, Path]]:
    yield "app", app / "app.yaml"
    for folder in ("types", "workflows"):
        for path in sorted((app / folder).glob("*.yaml")):
            yield KINDS[folder], path


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("app", APPS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_app_of_ours_fits(app: Path) -> None:
    assert [(path.name, problem) for kind, path in files_of(app) for problem in validate(kind, path.read_text())] == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("app", "app: shop\nsauces: {}"),
        ("app", "admins: [a@example.com]"),
        ("app", "app: shop\nadmins: [nobody]"),
        ("app", "app: shop\nenvironments: {production: {depth_limit: 5}}"),
        ("app", "app: shop\nenvironments: {live: {depth_limit: -1}}"),
        ("app", "app: shop\nsources: {s: {scheme: slac, secrets: [a]}}"),
        ("app", "app: shop\nsources: {s: {scheme: stripe, secrets: [a], header: X}}"),
        ("app", "app: shop\nsources: {s: {scheme: hmac, secrets: [a], header: X, algorithm: md5}}"),
        ("app", "app: shop\nsources: {s: {scheme: hmac, secrets: [a], header: X, signed: nothing}}"),
        ("app", "app: shop\nsources: {s: {scheme: stripe, secrets: [a], type: {header: X, payload: a}}}"),
        ("app", "app: shop\nconnectors: {c: {base_url: ftp://example.com}}"),
        ("type", "type: Order"),
        ("type", "fields: {a: text}"),
        ("type", "type: order\nfields: {a: 1}"),
        ("type", "type: order\nprivacy: [{name: owner, find: true}]"),
        ("workflow", "workflow: a b"),
        ("workflow", "workflow: a\nstep: []"),
        ("workflow", "workflow: a\nwhen: ${params.a}"),
        ("workflow", "workflow: a\ntimeout: 5 minutes"),
        ("workflow", "workflow: a\npriority: 10"),
        ("workflow", "workflow: a\non: {api: {auth: nobody}}"),
        ("workflow", "workflow: a\non: {webhook: {types: [a]}}"),
        ("workflow", "workflow: a\nsteps: [{emial: a}]"),
        ("workflow", "workflow: a\nsteps: [{when: 1 > 2}]"),
        ("workflow", "workflow: a\nsteps: [{log: a, stop: b}]"),
        ("workflow", "workflow: a\nsteps: [{log: a, subject: b}]"),
        ("workflow", "workflow: a\nsteps: [{log: a, id: 1st}]"),
        ("workflow", "workflow: a\nsteps: [{log: a, on_error: ignore}]"),
        ("workflow", "workflow: a\nsteps: [{get: order}]"),
        ("workflow", "workflow: a\nsteps: [{schedule: b, at: 2026-01-31T09:00:00Z, after: 5m}]"),
        ("workflow", "workflow: a\nsteps: [{schedule: b, after: soon}]"),
        ("workflow", "workflow: a\nsteps: [{schedule_list: b}]"),
        ("workflow", "workflow: a\nsteps: [{http: example.com}]"),
        ("workflow", "workflow: a\nsteps: [{http: 'https://example.com', method: FETCH}]"),
        ("workflow", "workflow: a\nsteps: [{find: order, limit: 0}]"),
        ("workflow", "workflow: a\nsteps: [{find: order, where: [{key: a, constraint_type: like}]}]"),
    ],
)
def test_a_broken_file_does_not_fit_and_the_reader_agrees(kind: str, text: str) -> None:
    assert validate(kind, text)
    files = {
        "app.yaml": "app: shop",
        "types/order.yaml": "type: order\nfields: {a: text}",
        "workflows/b.yaml": "workflow: b",
    }
    files |= {"app.yaml": text} if kind == "app" else {f"{kind}s/broken.yaml": text}
    assert load_files({name: content.encode() for name, content in files.items()}).app is None


UNKNOWN = "zzzzzzzz"


def keys_of_scheme(scheme: str) -> tuple[str, ...]:
    """The way to the keys that a source of this scheme has."""
    head = ("properties", "sources", "additionalProperties", "allOf")
    cases = walk(SCHEMAS["app.schema.json"], head)
    assert isinstance(cases, list)
    for index, _ in enumerate(cases):
        names = walk(cases[index], ("if", "properties", "scheme", "enum"))
        if isinstance(names, list) and scheme in names:
            return (*head, str(index), "then", "properties")
    raise AssertionError(f"no case of the schema is about {scheme}")


def walk(place: JsonValue, path: tuple[str, ...]) -> JsonValue:
    for part in path:
        place = place[int(part)] if isinstance(place, list) else place[part] if isinstance(place, dict) else None
    return place


HMAC = f"sources: {{s: {{scheme: hmac, secrets: [a], header: X, {UNKNOWN}: 1}}}}"
PLACES: list[tuple[str, str, tuple[str, ...]]] = [
    ("app", f"app: a\n{UNKNOWN}: 1", ("properties",)),
    (
        "app",
        f"app: a\nenvironments: {{live: {{{UNKNOWN}: 1}}}}",
        ("properties", "environments", "properties", "live", "properties"),
    ),
    ("app", f"app: a\n{HMAC}", keys_of_scheme("hmac")),
    (
        "app",
        f"app: a\nsources: {{s: {{scheme: stripe, secrets: [a], {UNKNOWN}: 1}}}}",
        keys_of_scheme("stripe"),
    ),
    (
        "app",
        f"app: a\nsources: {{s: {{scheme: hmac, secrets: [a], header: X, timestamp: {{header: T, {UNKNOWN}: 1}}}}}}",
        (*keys_of_scheme("hmac"), "timestamp", "properties"),
    ),
    (
        "app",
        f"app: a\nsources: {{s: {{scheme: stripe, secrets: [a], type: {{header: T, {UNKNOWN}: 1}}}}}}",
        (*keys_of_scheme("stripe"), "type", "properties"),
    ),
    (
        "app",
        f"app: a\nconnectors: {{c: {{base_url: 'https://example.com', {UNKNOWN}: 1}}}}",
        ("properties", "connectors", "additionalProperties", "properties"),
    ),
    ("app", f"app: a\nemail: {{{UNKNOWN}: 1}}", ("properties", "email", "properties")),
    ("type", f"type: order\n{UNKNOWN}: 1", ("properties",)),
    (
        "type",
        f"type: order\nprivacy: [{{everyone: {{{UNKNOWN}: 1}}}}]",
        ("properties", "privacy", "items", "anyOf", "0", "properties", "everyone", "properties"),
    ),
    ("workflow", f"workflow: a\n{UNKNOWN}: 1", ("properties",)),
    ("workflow", f"workflow: a\non: {{{UNKNOWN}: 1}}", ("properties", "on", "anyOf", "0", "properties")),
    (
        "workflow",
        f"workflow: a\non: {{api: {{{UNKNOWN}: 1}}}}",
        ("properties", "on", "anyOf", "0", "properties", "api", "anyOf", "0", "properties"),
    ),
    (
        "workflow",
        f"workflow: a\non: {{webhook: {{source: s, {UNKNOWN}: 1}}}}",
        ("properties", "on", "anyOf", "0", "properties", "webhook", "anyOf", "0", "properties"),
    ),
    (
        "workflow",
        f"workflow: a\non: {{recurrence: {{cron: '* * * * *', {UNKNOWN}: 1}}}}",
        ("properties", "on", "anyOf", "0", "properties", "recurrence", "anyOf", "0", "properties"),
    ),
    (
        "workflow",
        f"workflow: a\nparameters: {{p: {{type: text, {UNKNOWN}: 1}}}}",
        ("properties", "parameters", "additionalProperties", "anyOf", "1", "properties"),
    ),
    ("workflow", f"workflow: a\nretries: {{{UNKNOWN}: 1}}", ("properties", "retries", "anyOf", "1", "properties")),
]


@pytest.mark.parametrize(
    ("kind", "text", "path"), PLACES, ids=lambda value: "/".join(value) if isinstance(value, tuple) else None
)
def test_a_schema_has_the_keys_that_the_reader_knows(kind: str, text: str, path: tuple[str, ...]) -> None:
    place = walk(SCHEMAS[f"{kind}.schema.json"], path)
    assert isinstance(place, dict), path
    files = {"app.yaml": "app: a"} | ({"app.yaml": text} if kind == "app" else {f"{kind}s/one.yaml": text})
    problems = load_files({name: content.encode() for name, content in files.items()}).problems
    (known,) = [match[1] for problem in problems if (match := re.search(rf"{UNKNOWN}'; known are (.*)", str(problem)))]
    assert set(place) == set(known.split(", "))


@pytest.mark.parametrize("scheme", PROVIDERS)
def test_the_schema_of_a_source_has_the_keys_of_its_scheme_and_needs_the_same(scheme: str) -> None:
    written = sound_source(scheme)
    assert (validate("app", f"app: a\n{written}"), find_errors(written)) == ([], [])
    known = walk(SCHEMAS["app.schema.json"], keys_of_scheme(scheme))
    assert isinstance(known, dict)
    (problem,) = find_errors(f"{written}\n    {UNKNOWN}: 1")
    assert problem.endswith(f"known are {', '.join(sorted(known))}")
    for key in (*PROVIDERS[scheme].needs, *(() if PROVIDERS[scheme].secrets is Secrets.NONE else ("secrets",))):
        without = re.sub(rf"^    {key}: .*$", "", written, flags=re.MULTILINE)
        assert validate("app", f"app: a\n{without}"), key
        key = "jwks" if PROVIDERS[scheme].secrets is Secrets.KEY and key == "secrets" else key
        assert f"app.yaml:3: the source 's' needs {key!r}" in find_errors(without)[0]


def sound_source(scheme: str) -> str:
    """A source with no more than its scheme needs."""
    provider = PROVIDERS[scheme]
    secrets = [] if provider.secrets is Secrets.NONE else ["secrets: ['${secrets.A}']"]
    return "\n    ".join(["sources:\n  s:", f"scheme: {scheme}", *secrets, *provider.needs.values()])


def find_errors(sources: str) -> list[str]:
    """The problems that the reader finds in an app with these sources, but for warnings."""
    found = load_files({"app.yaml": f"app: a\n{sources}\n".encode()}).problems
    return [str(problem) for problem in found if problem.severity is Severity.ERROR]


def test_every_action_has_a_schema_with_its_own_arguments() -> None:
    definitions = SCHEMAS["workflow.schema.json"]["$defs"]
    assert isinstance(definitions, dict)
    for action, spec in ACTIONS.items():
        schema = definitions[f"step_{action.value}"]
        assert isinstance(schema, dict)
        assert isinstance(schema["properties"], dict)
        shared = {key.removeprefix("key_") for key in definitions if key.startswith("key_")}
        assert set(schema["properties"]) == {action.value, *spec.arguments} | shared


def test_every_argument_has_a_form() -> None:
    readers = {read for spec in ACTIONS.values() for read in (spec.target, *spec.arguments.values())}
    assert sorted(read.__name__ for read in readers if read.__name__ not in FORMS) == [], (
        "add it to penstock.reading.schemas.forms"
    )


def test_a_schema_is_published_as_it_is() -> None:
    hint = "run: python -m penstock.reading.schemas docs/schema"
    published: dict[str, Schema] = {
        path.name: orjson.loads(path.read_bytes()) for path in (ROOT / "docs" / "schema").iterdir()
    }
    assert published == SCHEMAS, hint
