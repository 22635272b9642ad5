"""What a body of the Data API says of a thing: values by field, in the form in which they are stored (BUBBLE 2.1, 2.4).

Fields may be written in every way that `find_field` knows, and values as texts. An empty text, or an empty list, is an
empty field, as null is.
"""

from collections.abc import Sequence
from typing import Final

from pydantic import JsonValue

from penstock.bodies import Undecodable, decode_body, kind_of, parse_json, without_nul
from penstock.definitions.fields import BUILT_IN_FIELDS, WRITABLE_BUILT_IN, find_field
from penstock.definitions.models import DataType
from penstock.definitions.values import ValueSource, coerce_value
from penstock.storable import UNSTORABLE_REASON, is_storable
from penstock.things.passwords import MAX_BYTES, find_password_problem
from penstock_ingress.rules import bubble
from penstock_ingress.rules.replies import Refusal, Reply

Values = dict[str, JsonValue]
MAX_LINES: Final = 1_000
"""Of a bulk request, as with Bubble."""
_READ_ONLY: Final = frozenset(known.name for known in BUILT_IN_FIELDS) - WRITABLE_BUILT_IN
_USER, _PASSWORD = "user", "password"
_NOT_LINES: Final = (
    "Expecting a newline-seperated list of JSON objects.  Make sure the Content-Type header is text/plain"
)
"""In Bubble's own spelling; its clients compare it."""


class RecordProblem(ValueError):
    """A body that cannot be a thing: the code and the message of Bubble's envelope."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def refusal(self) -> Refusal:
        """The answer to a request about one thing."""
        return Refusal(bubble.wrapped(400, self.code, str(self)))


def read_record(data_type: DataType, body: bytes, content_type: str) -> Values:
    """The values in the body of a request, JSON or a form. Raises RecordProblem."""
    return check_record(data_type, _decode(body, content_type))


def read_new_record(data_type: DataType, body: bytes, content_type: str) -> tuple[Values, str | None]:
    """The values of a new thing, and the password of a new user, if there is one: it is not a field. Raises
    RecordProblem.
    """
    value = _decode(body, content_type)
    password = None
    if data_type.name == _USER and isinstance(value, dict) and find_field(data_type, _PASSWORD) is None:
        password = value.pop(_PASSWORD, None) or None
    if password is not None and not isinstance(password, str):
        raise RecordProblem("INVALID_DATA", "Invalid data for field password: expected text")
    if password is not None and (reason := _find_problem(password)):
        raise RecordProblem("INVALID_DATA", f"Invalid data for field password: {reason}")
    return check_record(data_type, value), password


def _find_problem(password: str) -> str | None:
    if not is_storable(password):
        return UNSTORABLE_REASON
    if len(password.encode()) > MAX_BYTES:
        return f"a password has at most {MAX_BYTES} bytes"
    return find_password_problem(password)


def _decode(body: bytes, content_type: str) -> JsonValue:
    if kind_of(content_type) is None:
        raise RecordProblem("ERROR", "Send the fields as application/json")
    try:
        return without_nul(decode_body(body, content_type), body)
    except Undecodable as error:
        raise RecordProblem("ERROR", f"Could not parse the body: {error}") from None


def check_record(data_type: DataType, value: JsonValue) -> Values:
    """The values of an object of fields. Raises RecordProblem."""
    if not isinstance(value, dict):
        raise RecordProblem("ERROR", "Expecting a JSON object of fields and values")
    values: Values = {}
    for key, given in value.items():
        known = find_field(data_type, key)
        if known is None or known.name in _READ_ONLY:
            raise RecordProblem("ERROR", f"Unrecognized field: {key[:200]}")
        if given is None or given in ("", []):
            values[known.name] = None
            continue
        try:
            values[known.name] = coerce_value(known.type, given, source=ValueSource.TEXT)
        except ValueError as error:
            raise RecordProblem("INVALID_DATA", f"Invalid data for field {known.name}: {error}") from None
    return values


def empty_record(data_type: DataType) -> Values:
    """Every field that can be written, empty: what a replacement does not name."""
    return {**dict.fromkeys(WRITABLE_BUILT_IN), **{known.name: None for known in data_type.fields}}


def split_lines(body: bytes, content_type: str) -> list[bytes]:
    """The lines of a bulk request. Raises Refusal."""
    media_type = content_type.partition(";")[0].strip().lower()
    lines = body.split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if media_type != "text/plain" or not lines:
        raise Refusal(bubble.wrapped(400, "ERROR", _NOT_LINES))
    if len(lines) > MAX_LINES:
        message = f"A bulk request takes at most {MAX_LINES} lines, and this one has {len(lines)}; send several"
        raise Refusal(bubble.wrapped(400, "ERROR", message))
    return [line.rstrip(b"\r") for line in lines]


def read_line(data_type: DataType, line: bytes) -> Values:
    """The values in a line of a bulk request. Raises RecordProblem."""
    try:
        value = without_nul(parse_json(line), line)
    except Undecodable:
        value = None
    if not isinstance(value, dict):
        raise RecordProblem("ERROR", f"Could not parse as JSON: {line.decode(errors='replace')}")
    return check_record(data_type, value)


def bulk_reply(outcomes: Sequence[str | RecordProblem]) -> Reply:
    """A line for each outcome, the id of what was created or what was wrong, without a line break at the end."""
    lines = [
        bubble.bulk_failure(str(outcome)) if isinstance(outcome, RecordProblem) else bubble.created(outcome)
        for outcome in outcomes
    ]
    return Reply(200, b"\n".join(lines), "text/plain")
