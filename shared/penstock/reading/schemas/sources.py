"""A source of webhooks: which keys it has depends on its scheme."""

from typing import Final, get_args

from penstock.definitions.sources import Source
from penstock.reading.schemas.forms import ANYTHING, DURATION, TEXT, Schema, choice, one_or_list, table
from penstock.reading.sources import keys_of
from penstock.webhooks.providers import PROVIDERS
from penstock.webhooks.recipes import Provider, Secrets

_HEADER: Final[Schema] = {"type": "string", "pattern": r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"}
_PICK: Final[Schema] = {**table({"header": _HEADER, "payload": TEXT}), "minProperties": 1, "maxProperties": 1}
_URL: Final[Schema] = {"type": "string", "pattern": "^https?://"}
_KEYS: Final[dict[str, Schema]] = {
    "secrets": {**one_or_list(TEXT), "description": 'Any of them may have signed: ["${secrets.NAME}"].'},
    "deduplicate": {**_PICK, "description": "What copies of one delivery have in common."},
    "type": {**_PICK, "description": "Where the type of a delivery stands."},
    "tolerance": {**DURATION, "description": "How far the signed time may be off in either direction."},
    "algorithm": choice(get_args(Source.model_fields["algorithm"].annotation)),
    "encoding": choice(get_args(Source.model_fields["encoding"].annotation)),
    "key": {
        **choice(get_args(Source.model_fields["key"].annotation)),
        "description": "How the secret is written; by default its text is the key.",
    },
    "header": _HEADER,
    "prefix": TEXT,
    "signed": {**TEXT, "pattern": r"\{body\}"},
    "url": {**_URL, "description": "The public URL, as the sender knows it."},
    "timestamp": table({"header": _HEADER, "prefix": TEXT, "tolerance": DURATION}, "header"),
    "verify_token": {**TEXT, "description": "What the sender repeats when it verifies the URL: ${secrets.NAME}."},
}


def build_source() -> Schema:
    """What stands under a name in `sources`: the keys of its scheme, and no others."""
    schemes: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for scheme, provider in PROVIDERS.items():
        schemes.setdefault((_list_keys(scheme, provider), _list_required(provider)), []).append(scheme)
    return {
        "type": "object",
        "properties": {"scheme": choice(PROVIDERS), **_KEYS},
        "required": ["scheme"],
        "allOf": [
            {
                "if": {"properties": {"scheme": choice(names)}, "required": ["scheme"]},
                "then": table({"scheme": ANYTHING, **{key: _KEYS[key] for key in keys}}, *required),
            }
            for (keys, required), names in schemes.items()
        ],
    }


def _list_keys(scheme: str, provider: Provider) -> tuple[str, ...]:
    secrets = () if provider.secrets is Secrets.NONE else ("secrets",)
    return (*secrets, "deduplicate", "type", *keys_of(scheme))


def _list_required(provider: Provider) -> tuple[str, ...]:
    return (*(() if provider.secrets is Secrets.NONE else ("secrets",)), *provider.needs)
