"""Evaluates values as they are written, text by text, so that one that is not known leaves the others alone."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from penstock import exact_json
from penstock.expressions import Expression, ExpressionError, Template, compile_template
from penstock.expressions.bounded import evaluate
from penstock.runs.step_inputs.frames import Path, find_unknown
from penstock.runs.step_inputs.models import InputNote, Values

MAX_SECONDS: Final = 10.0
"""For all values of a step together; each expression has limits of its own."""
MAX_BYTES: Final = 1024 * 1024
"""Of all values of a step together, as JSON."""
_TOO_SLOW: Final = f"it was not evaluated: all values of a step together have {MAX_SECONDS:g} s"
_TOO_LARGE: Final = f"it is too large to be shown: all values of a step together have {MAX_BYTES // 2**20} MB"
_REFERRED: Final = "it was read through a reference, from a thing that may have changed since"
_WITH_SECRET: Final = "it was computed with a secret, and here with its name in place of it"
_Place = tuple[str | int, ...]


class _Unknown(Exception):
    """Why a value is not known."""


@dataclass
class Evaluation:
    """Evaluates values of one step. `unknown` says of members of `scope` why they are not known; `referring` are the
    expressions that read through references. Nothing is evaluated after `deadline`, on the loop's clock. `notes` say
    by place what is wrong with a value; `size` is that of all values so far.
    """

    place: str
    scope: Values
    unknown: Mapping[Path, str]
    referring: Mapping[str, str]
    deadline: float
    notes: dict[_Place, str] = field(default_factory=dict)
    size: int = 0

    def shown_notes(self) -> list[InputNote]:
        """The notes in the order in which the values are written."""
        return [InputNote(at=".".join(map(str, at)), why=why) for at, why in self.notes.items()]

    async def fill(self, written: JsonValue, at: _Place = ()) -> JsonValue:
        """What is written, with values in place of expressions. What is not known stays as it is, and has a note."""
        if isinstance(written, dict):
            return {name: await self.fill(value, (*at, name)) for name, value in written.items()}
        if isinstance(written, list):
            return [await self.fill(value, (*at, index)) for index, value in enumerate(written)]
        if not isinstance(written, str) or "${" not in written:
            return written
        try:
            return await self._evaluate(compile_template(written, self.place), at)
        except _Unknown as why:
            self.notes[at] = str(why)
        except ExpressionError as error:
            self.notes[at] = f"it cannot be evaluated: {error.reason}"
        return written

    async def _evaluate(self, template: Template, at: _Place) -> JsonValue:
        for expression in template.expressions:
            self._check(expression)
            if any(expression.source.strip() != f"secrets.{name}" for name in expression.secrets):
                self.notes[at] = _WITH_SECRET
        secrets: Values = {name: f"[secret {name}]" for name in template.secrets}
        scope: Values = {**self.scope, "secrets": secrets}
        try:
            async with asyncio.timeout_at(self.deadline):
                await asyncio.sleep(0)  # between two of them others have a turn
                value = await evaluate(template, scope)
        except TimeoutError:
            raise _Unknown(_TOO_SLOW) from None
        self.size += len(exact_json.dumps(value))
        if self.size > MAX_BYTES:
            raise _Unknown(_TOO_LARGE)
        return value

    def _check(self, expression: Expression) -> None:
        """Raises _Unknown for what reads a value that is not known."""
        if expression.source in self.referring:
            raise _Unknown(_REFERRED)
        for reference in expression.references:
            if reference.path == ("secrets",):
                raise _Unknown(_WITH_SECRET)
            if (why := find_unknown(reference, self.unknown)) is not None:
                raise _Unknown(why)


def find_references(written: JsonValue, place: str) -> Iterator[Path]:
    """The members of its scope that the expressions in a value read; none of those that cannot be read."""
    try:
        template = compile_template(written, place)
    except ExpressionError:
        return
    for expression in template.expressions:
        for reference in expression.references:
            yield reference.path
