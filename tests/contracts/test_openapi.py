"""The management API as published: `docs/openapi/management.json` is what the ingress serves as `/openapi.json` on its
admin port.
"""

from pathlib import Path

import orjson
from pydantic import JsonValue

from penstock_ingress.routes.openapi import describe_management

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi" / "management.json"


def render() -> bytes:
    """What the file has to hold. Without the version, so that a release does not change it."""
    document = describe_management()
    info = document["info"]
    assert isinstance(info, dict)
    return orjson.dumps(
        document | {"info": info | {"version": "current"}}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    )


def test_the_document_is_what_the_code_says() -> None:
    assert DOCUMENT.read_bytes() == render(), "run `python -m tests.contracts.test_openapi`"


def test_every_reference_leads_somewhere() -> None:
    document = describe_management()
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
    DOCUMENT.write_bytes(render())
