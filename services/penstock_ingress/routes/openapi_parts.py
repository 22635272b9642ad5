"""What the descriptions of the public port's paths are made of."""

from typing import Final

from pydantic import JsonValue

Document = dict[str, JsonValue]
JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
REF: Final = "#/components/schemas/"
TEXT: Final[Document] = {"type": "string"}
NUMBER: Final[Document] = {"type": "integer"}
YES_NO: Final[Document] = {"type": "boolean"}
ANY: Final[Document] = {"type": "object", "additionalProperties": True}


def answer(about: str, shape: str, media_type: str = JSON) -> Document:
    """An answer with a document of that shape."""
    return {"description": about, "content": {media_type: {"schema": {"$ref": REF + shape}}}}


def problem(about: str) -> Document:
    """A problem document (RFC 9457)."""
    return answer(about, "Problem", PROBLEM)


def bad_request(about: str) -> Document:
    """400 in either form: Bubble's for what its clients know, a problem for headers and for a broken body."""
    forms: Document = {JSON: {"schema": {"$ref": f"{REF}Failure"}}, PROBLEM: {"schema": {"$ref": f"{REF}Problem"}}}
    return {"description": about, "content": forms}


def parameter(name: str, about: str, *, place: str = "path", schema: Document | None = None) -> Document:
    """A parameter; those of the path are required."""
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": about,
        "schema": schema or TEXT,
    }


TOO_MANY: Final = problem("The caller comes too often, or with too many wrong tokens; try again after Retry-After")
UNREADABLE: Final = answer("The query cannot be read", "Failure")
