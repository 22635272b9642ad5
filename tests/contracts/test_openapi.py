"""The APIs as published: `docs/openapi` holds what the ingress serves as `/openapi.json`, one file for each port."""

from collections.abc import Callable, Mapping
from pathlib import Path

import orjson
import pytest
from pydantic import JsonValue

from penstock_ingress.routes.openapi import describe_management
from penstock_ingress.routes.public_openapi import describe_public

DIRECTORY = Path(__file__).parents[2] / "docs" / "openapi"
Describe = Callable[[], Mapping[str, JsonValue]]
DOCUMENTS: Mapping[str, Describe] = {"management.json": describe_management, "public.json": describe_public}


def render(describe: Describe) -> bytes:
    """What the file has to hold. Without the version, so that a release does not change it."""
    document = dict(describe())
    info = document["info"]
    assert isinstance(info, dict)
    return orjson.dumps(
        document | {"info": info | {"version": "current"}}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    )


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_document_is_what_the_code_says(name: str) -> None:
    assert (DIRECTORY / name).read_bytes() == render(DOCUMENTS[name]), "run `python -m tests.contracts.test_openapi`"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_reference_leads_somewhere(name: str) -> None:
    document = dict(DOCUMENTS[name]())
    references = _references(document)
    assert references
    for reference in references:
        place: JsonValue = document
        for part in reference.removeprefix("#/").split("/"):
            assert isinstance(place, dict)
            assert part in place, reference
            place = place[part]


def _references(value: JsonValue) -> set[str]:
    if isinstance(value, dict):
        own = {reference} if isinstance(reference := value.get("$ref"), str) else set()
        return own.union(*(_references(inner) for inner in value.values()))
    return set().union(*(_references(inner) for inner in value)) if isinstance(value, list) else set()


if __name__ == "__main__":
    for name, describe in DOCUMENTS.items():
        (DIRECTORY / name).write_bytes(render(describe))
