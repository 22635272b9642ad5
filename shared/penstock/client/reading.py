"""Answers of Penstock as values. What is not one is an error that shows what came instead."""

from typing import TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from penstock.client.errors import ClientError

M = TypeVar("M", bound=BaseModel)
_SHOWN = 300


def read_answer(model: type[M], document: dict[str, JsonValue]) -> M:
    """The document as a `model`. Raises ClientError."""
    try:
        return model.model_validate(document)
    except ValidationError:
        raise ClientError(f"this is not an answer of Penstock: {str(document)[:_SHOWN]}") from None
