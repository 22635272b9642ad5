"""The pages name everything that there is: kinds of steps with their arguments, keys of files, triggers, schemes."""

import inspect
import json
import re
from collections.abc import Iterator
from functools import cache

import pytest

import penstock
from penstock import Context
from penstock.definitions.models import StepAction
from penstock.reading.actions import ACTIONS
from penstock.webhooks.provider_table import PROVIDERS
from penstock.webhooks.recipes import Secrets
from tests.docs import ROOT, read_prose

DOCS = ROOT / "docs"
PAGES_OF_KEYS = {
    "app": ("apps.md", "triggers.md", "calls.md", "mail.md"),
    "type": ("data.md", "privacy.md"),
    "workflow": ("apps.md", "recursion.md", "privacy.md"),
}
AS_HTTP = frozenset(ACTIONS[StepAction.HTTP].arguments)


@cache
def words_of(*pages: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", " ".join((DOCS / page).read_text() for page in pages)))


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.value)
def test_the_page_of_steps_has_each_kind_of_step_with_all_its_arguments(action: StepAction) -> None:
    rows = [line for _, line in read_prose(DOCS / "steps.md") if re.match(rf"\| [^|]*`{action.value}: ", line)]
    assert len(rows) == 1, rows
    named = set(re.findall(r"\w+", rows[0])) | (AS_HTTP if "those of `http`" in rows[0] else set())
    assert set(ACTIONS[action].arguments) - named == set()


@pytest.mark.parametrize("kind", PAGES_OF_KEYS)
def test_the_pages_name_each_key_of_a_file(kind: str) -> None:
    schema = json.loads((DOCS / "schema" / f"{kind}.schema.json").read_text())
    assert set(schema["properties"]) - words_of(*PAGES_OF_KEYS[kind]) == set()


def test_the_pages_name_each_trigger_with_its_keys() -> None:
    schema = json.loads((DOCS / "schema" / "workflow.schema.json").read_text())
    keys = set(_keys(schema["properties"]["on"]))
    assert {"api", "webhook", "recurrence", "change", "run", "catch_up"} <= keys
    assert keys - words_of("triggers.md", "time.md") == set()


def _keys(schema: object) -> Iterator[str]:
    """All keys that a schema names, at every depth."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for inner in schema.values():
            yield from _keys(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _keys(inner)


@pytest.mark.parametrize("scheme", PROVIDERS)
def test_the_pages_name_each_scheme_of_webhooks_with_what_it_needs(scheme: str) -> None:
    provider = PROVIDERS[scheme]
    needs = {*provider.needs, *(() if provider.secrets is Secrets.NONE else ("secrets",))}
    assert {scheme, *needs} - words_of(*[path.name for path in DOCS.glob("*.md")]) == set()


def test_the_page_on_python_names_each_step_of_a_context() -> None:
    steps = {name for name, member in inspect.getmembers(Context, inspect.isfunction) if not name.startswith("_")}
    assert len(steps) > 30
    assert steps - words_of("python.md") == set()


def test_the_page_on_python_names_what_is_imported_and_each_option_of_a_workflow() -> None:
    options = set(inspect.signature(penstock.App.workflow).parameters) - {"self"}
    results = {"Page", "Response", "Thing"}  # what steps return, which nobody has to import
    assert {*penstock.__all__, *options} - results - words_of("python.md") == set()
