"""Takes secrets out of what is stored and shown: texts, JSON values, encoded JSON, and this process's log.

A secret is looked for as it is, as JSON writes it (also in JSON inside JSON), percent-encoded and in base64, and
`[secret NAME]` takes its place. Secrets of fewer than eight characters are left alone: they would be found in ordinary
words. Nothing else can be known of a secret, such as a part of it or a hash, so this is the second line of defence; the
first is that `penstock check` refuses to have one stored.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, quote_plus

from pydantic import JsonValue

from penstock import exact_json

MIN_REDACTED: Final = 8
_MIN_BEGINNING: Final = 4
_MAX_ESCAPED: Final = 3
"""How often JSON may stand in a text of JSON."""
_CUT: Final = "…"


class Redactor:
    """Redacts the values of `secrets`, which are names and values; a name may have several."""

    def __init__(self, secrets: Iterable[tuple[str, str]]) -> None:
        forms = {
            form: f"[secret {name}]" for name, value in secrets if len(value) >= MIN_REDACTED for form in _forms(value)
        }
        # The longest first: one secret may begin with another.
        self._forms = sorted(forms.items(), key=lambda form: -len(form[0]))
        self._needles = [(_encode(form), _encode(mark)) for form, mark in self._forms]

    def text(self, text: str) -> str:
        """`text` without secrets."""
        for form, mark in self._forms:
            if form in text:
                text = text.replace(form, mark)
        return self._trim(text) if text.endswith(_CUT) else text

    def _trim(self, text: str) -> str:
        """A text that was cut may end in the beginning of a secret."""
        kept = text.removesuffix(_CUT)
        for form, mark in self._forms:
            for length in range(min(len(form) - 1, len(kept)), _MIN_BEGINNING - 1, -1):
                if kept.endswith(form[:length]):
                    return kept[:-length] + mark + _CUT
        return text

    def value(self, value: JsonValue) -> JsonValue:
        """A JSON value without secrets, in keys neither; the very same one if it holds none, which is found out
        quickly.
        """
        if not self._needles or value is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        encoded = exact_json.dumps(value)
        return self._walk(value) if any(needle in encoded for needle, _ in self._needles) else value

    def encoded(self, document: bytes) -> bytes:
        """JSON that is encoded already, without secrets."""
        for needle, mark in self._needles:
            if needle in document:
                document = document.replace(needle, mark)
        return document

    def _walk(self, value: JsonValue) -> JsonValue:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._walk(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self._walk(item) for key, item in value.items()}
        return value


def describe(value: object) -> str:
    """`str(value)`; what an author's class says instead of raising."""
    try:
        return str(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose text raises {type(error).__name__}>"


class LogRedactor:
    """Redacts the log of this process: all secrets that it has ever known, also those that have been replaced since."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._redactor = Redactor(())

    def learn(self, secrets: Mapping[str, str]) -> None:
        """Keep these out of the log from now on."""
        new = {value: name for name, value in secrets.items() if value not in self._known}
        if new:
            self._known |= new
            self._redactor = Redactor((name, value) for value, name in self._known.items())

    def text(self, text: str) -> str:
        """`text` without secrets."""
        return self._redactor.text(text)

    def field(self, value: object) -> object:
        """A field of a log line without secrets: in texts, and in texts inside lists and mappings."""
        if isinstance(value, str):
            return self._redactor.text(value)
        if isinstance(value, Mapping):
            return {key: self.field(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.field(item) for item in value]
        return self._redactor.text(describe(value)) if isinstance(value, BaseException) else value


LOG: Final = LogRedactor()
"""What `penstock.logs` sends every line through. One for the process, as the log is."""


def _forms(value: str) -> set[str]:
    raw = value.encode(errors="replace")
    forms = {value, quote(raw, safe=""), quote_plus(raw), base64.b64encode(raw).decode()}
    for escape in (_escape, lambda text: json.dumps(text)[1:-1]):
        written = value
        for _ in range(_MAX_ESCAPED):
            written = escape(written)
            forms.add(written)
    return forms


def _escape(text: str) -> str:
    return _encode(text).decode()


def _encode(text: str) -> bytes:
    """As it stands inside a JSON text."""
    return exact_json.dumps(text.encode(errors="replace").decode())[1:-1]
