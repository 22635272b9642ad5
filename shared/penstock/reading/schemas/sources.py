"""A source of webhooks: which keys it has depends on its scheme."""

from typing import Final, get_args

from pydantic import JsonValue

from penstock.definitions.sources import Source
from penstock.reading.schemas.forms import ANYTHING, DURATION, TEXT, Schema, choice, one_or_list, table
from penstock.reading.sources import keys_of
from penstock.webhooks.provider_table import PROVIDERS
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
    "issuer": {**TEXT, "description": "Who makes the tokens, as `iss` says it."},
    "audience": {**one_or_list(TEXT), "description": "For whom they are, as `aud` says it."},
    "jwks": {**_URL, "description": "The URL of the issuer's keys."},
    "senders": {**one_or_list(TEXT), "description": "Who may send: topics, service accounts, subjects."},
    "trust": {
        **table({"hosts": one_or_list(TEXT), "ca": TEXT}),
        "description": "Where certificates may come from, and the file of those that they have to lead to.",
    },
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
                "then": table(
                    {"scheme": ANYTHING, **{key: _KEYS[key] for key in keys}}, *required, **_either(names[0])
                ),
            }
            for (keys, required), names in schemes.items()
        ],
    }


def _either(scheme: str) -> dict[str, JsonValue]:
    """Keys of which a source of the scheme has one."""
    is_either = PROVIDERS[scheme].secrets is Secrets.KEY
    return {"oneOf": [{"required": ["jwks"]}, {"required": ["secrets"]}]} if is_either else {}


def _list_keys(scheme: str, provider: Provider) -> tuple[str, ...]:
    secrets = () if provider.secrets is Secrets.NONE else ("secrets",)
    return (*secrets, "deduplicate", "type", *keys_of(scheme))


def _list_required(provider: Provider) -> tuple[str, ...]:
    secrets = () if provider.secrets in {Secrets.NONE, Secrets.KEY} else ("secrets",)
    return (*secrets, *provider.needs)
