"""What an answer of another server means for a step: a result, a reason to try again, or the end."""

from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Final

from pydantic import JsonValue

from penstock import exact_json
from penstock.errors import Permanent, Transient
from penstock.outgoing.exchange import Request, Response
from penstock.storable import storable_text, storable_value

_TRANSIENT: Final = frozenset({408, 425, 429})
_TEXT: Final = frozenset(
    {
        "application/json",
        "application/xml",
        "application/javascript",
        "application/ecmascript",
        "application/x-ndjson",
        "application/x-www-form-urlencoded",
        "application/yaml",
    }
)
_MAX_EXCERPT: Final = 200


def to_result(response: Response) -> dict[str, JsonValue]:
    """`{status, headers, body}`; the body is parsed when it is JSON, else text, and null when it is binary."""
    headers: dict[str, JsonValue] = {name: _read_header(value) for name, value in response.headers.items()}
    body = None if is_binary(response) else read_body(response)
    return {"status": response.status, "headers": headers, "body": body}


def _read_header(value: str) -> str:
    """What a server sends as UTF-8, or else as Latin-1 (RFC 9110, 5.5); aiohttp leaves bytes of the latter escaped."""
    if value.isascii():
        return storable_text(value)
    raw = value.encode(errors="surrogateescape")
    try:
        return storable_text(raw.decode())
    except UnicodeDecodeError:
        return storable_text(raw.decode("latin-1"))


def is_binary(response: Response) -> bool:
    """Whether decoding would destroy the body: it is not of a type that is text, and not text by itself either."""
    kind = content_type(response)
    if kind.startswith("text/") or kind.endswith(("+json", "+xml")) or kind in _TEXT:
        return False
    try:
        return "\x00" in response.body.decode(response.charset or "utf-8")
    except (UnicodeDecodeError, LookupError):
        return True


def content_type(response: Response) -> str:
    """The media type in small letters, without its parameters; empty when the server did not say."""
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def file_name(request: Request, response: Response) -> str:
    """What a file with the body is called: as `Content-Disposition` says (RFC 6266), or as the end of the URL."""
    described = Message()
    described["Content-Disposition"] = response.headers.get("content-disposition", "")
    return described.get_filename("") or request.url.name or "file"


def refusal(request: Request, response: Response) -> Permanent | Transient:
    """The error for a status: Transient for 408, 425, 429 and 5xx, after `Retry-After`; Permanent for all others."""
    message = describe_refusal(request, response)
    if response.status in _TRANSIENT or response.status >= 500:
        return Transient(message, kind="http", retry_after_seconds=retry_after(response), status=response.status)
    return Permanent(message, kind="http")


def describe_refusal(request: Request, response: Response) -> str:
    """One sentence with the beginning of what the server said."""
    body = read_body(response)
    if is_binary(response):
        body = f"{len(response.body)} bytes of {content_type(response) or 'an unknown type'}"
    excerpt = (body if isinstance(body, str) else exact_json.dumps(body).decode())[:_MAX_EXCERPT]
    return f"{request.method} {request.url.host} answered with status {response.status}: {excerpt}"


def retry_after(response: Response) -> float | None:
    """Seconds, from a number or a date (RFC 9110, 10.2.3); None when the header is missing or neither."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal() and value.isascii():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def read_body(response: Response) -> JsonValue:
    """The body as JSON if it is JSON that can be stored, else as text."""
    kind = content_type(response)
    if kind == "application/json" or kind.endswith("+json"):
        try:
            parsed: JsonValue = exact_json.loads(response.body)
            exact_json.dumps(parsed)  # nested too deep to be stored?
            # PostgreSQL cannot store NUL, also not when JSON escapes it.
            if b"\\u0000" not in response.body or storable_value(parsed) == parsed:
                return parsed
        except (ValueError, TypeError, RecursionError):
            pass
    return _decode(response)


def _decode(response: Response) -> str:
    try:
        decoded = response.body.decode(response.charset or "utf-8", errors="replace")
    except LookupError:
        decoded = response.body.decode(errors="replace")
    return decoded.replace("\x00", "�")
