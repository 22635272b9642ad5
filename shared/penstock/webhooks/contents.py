"""What a signature covers: a template of the raw parts of a request."""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from penstock.webhooks.places import find_value, split_header
from penstock.webhooks.recipes import Recipe, Where
from penstock.webhooks.requests import SignedRequest

MAX_FIELDS: Final = 1000
FORM: Final = "application/x-www-form-urlencoded"
Content = Callable[[SignedRequest, str], bytes]
"""Takes the request, and the text of its time."""

_PLACEHOLDER: Final = re.compile(r"\{(body|form|timestamp|id|url|method|path)\}")
_PORTS: Final = {"https": 443, "http": 80}


def build_content(recipe: Recipe, url: str | None) -> Content:
    """What is signed of a request. `url` is the address that was given to the sender, not one made from Host, which a
    proxy or an attacker may have changed.
    """
    if recipe.signed == "{body}":
        return _body
    if recipe.signed == "{timestamp}.{body}":
        return lambda request, time: _bytes(time) + b"." + request.body
    parts = [_part(name, recipe, url) for name in _split_template(recipe.signed)]
    return lambda request, time: b"".join([part(request, time) for part in parts])


def list_urls(recipe: Recipe, url: str | None) -> list[str | None]:
    """The forms that the signed URL may have: with and without the port that goes without saying, for senders who are
    not consistent in that.
    """
    parts = urlsplit(url or "")
    port = _PORTS.get(parts.scheme)
    if not recipe.is_port_optional or url is None or port is None or parts.hostname is None:
        return [url]
    bare, suffix = parts.netloc.removesuffix(f":{port}"), f":{port}"
    if ":" in bare.rpartition("]")[2]:
        return [url]
    return [url.replace(parts.netloc, netloc, 1) for netloc in (bare, bare + suffix)]


def is_digest_right(recipe: Recipe, request: SignedRequest) -> bool:
    """Whether the signed query holds the digest of a body that is not covered otherwise."""
    if recipe.body_digest is None:
        return True
    digests = [value for name, value in parse_qsl(request.query) if name == recipe.body_digest]
    if not digests and (not request.body or request.content_type == FORM):
        return True
    expected = hashlib.sha256(request.body).hexdigest()
    return len(digests) == 1 and hmac.compare_digest(digests[0].lower().encode(), expected.encode())


def find_text(recipe: Recipe, where: Where) -> Callable[[SignedRequest], str]:
    """How to find what is signed as {timestamp} or {id}: as it was sent."""
    if where.part is not None:
        part = where.part
        return lambda request: find_part(split_header(request.headers, recipe.header), part)
    if where.header is not None:
        name = where.header
        return lambda request: request.headers.get(name, "")
    return lambda request: find_value(where, request.headers, request.payload()) or ""


def find_part(items: Iterable[str], part: str) -> str:
    """What stands behind the first of these parts of a header, or nothing. With several times only the first is looked
    at, and that is the one which is signed.
    """
    for item in items:
        if item.startswith(part):
            return item[len(part) :]
    return ""


def _body(request: SignedRequest, _time: str) -> bytes:
    return request.body


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _split_template(template: str) -> Iterator[bytes | str]:
    """Literals (bytes) and names of parts of the request, in order: `re.split` with one group gives them in turn."""
    for index, piece in enumerate(_PLACEHOLDER.split(template)):
        if piece:
            yield piece if index % 2 else piece.encode()


def _part(name: bytes | str, recipe: Recipe, url: str | None) -> Content:
    if isinstance(name, bytes):
        return lambda _request, _time: name
    match name:
        case "body":
            return _body
        case "form":
            return _sorted_form
        case "timestamp":
            return lambda _, time: _bytes(time)
        case "id":
            find, is_plain = find_text(recipe, recipe.id or Where(payload="")), bool(recipe.key_prefix)
            return lambda request, _: _id_bytes(find(request), is_plain=is_plain)
        case "url":
            base, _, query = (url or "").partition("?")
            return lambda request, _: _bytes(f"{base}?{request.query or query}" if request.query or query else base)
        case "method":
            return lambda request, _: request.method.encode()
        case _:
            return lambda request, _: _bytes(request.path)


def _id_bytes(id: str, *, is_plain: bool) -> bytes:
    """An id as it is signed. Raises ValueError where it has to be plain and has a full stop, which parts it from what
    follows (Standard Webhooks).
    """
    if is_plain and "." in id:
        raise ValueError("an id has no full stop")
    return _bytes(id)


def _sorted_form(request: SignedRequest, _time: str) -> bytes:
    """The fields of a form by name, each with its values, sorted and without copies; nothing for another body. Raises
    ValueError for more than `MAX_FIELDS`.
    """
    if request.content_type != FORM:
        return b""
    text = request.body.decode("utf-8", "surrogateescape")
    pairs = parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=MAX_FIELDS)
    return _bytes("".join(name + value for name, value in sorted(set(pairs))))
