"""The limits and policies of an environment that may be changed while everything runs."""

import re
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator
from pydantic.json_schema import SkipJsonSchema

from penstock.domain.depth import MAX_DEPTH
from penstock.domain.mail_addresses import parse_address
from penstock.domain.notices import NoticeKind, check_period
from penstock.domain.retention import read_retention

MAX_CHAIN_RUNS: Final = 10**12
MAX_UNITS: Final = 1e15
_MAX_ADDRESSES: Final = 50
MAX_TARGETS: Final = 10
_REFERENCE: Final = re.compile(r"\$\{\s*secrets\.[A-Za-z_]\w*\s*\}", re.ASCII)


def _is_address(value: str) -> str:
    """Raises ValueError that says what is wrong with the address."""
    parse_address(value)
    return value


def is_reference(text: str) -> bool:
    """Whether a text is `${secrets.NAME}` and nothing else."""
    return _REFERENCE.fullmatch(text) is not None


def check_url(text: str) -> str:
    """Raises ValueError unless `text` is a URL that can be called, or the secret that holds one."""
    if is_reference(text):
        return text
    parts = urlsplit(text)
    if "${" in text or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("give a URL such as https://ops.example.com/hook, or ${secrets.NAME} that holds one")
    return text


def check_reference(text: str) -> str:
    """Raises ValueError unless `text` is `${secrets.NAME}`: settings and the audit show what they hold."""
    if not is_reference(text):
        raise ValueError("give ${secrets.NAME}; `penstock secret set NAME` stores the secret")
    return text


def _are_periods(every: dict[NoticeKind, str]) -> dict[NoticeKind, str]:
    for kind, text in every.items():
        check_period(kind, text)
    return every


Url = Annotated[str, StringConstraints(max_length=2000), AfterValidator(check_url)]


class Webhook(BaseModel):
    """A receiver of signed webhooks."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    url: Url
    secret: Annotated[str, StringConstraints(max_length=200), AfterValidator(check_reference)] = Field(
        description="`${secrets.NAME}`, of which the value is whsec_ and a key in base64"
    )


Address = Annotated[str, StringConstraints(max_length=254), AfterValidator(_is_address)]
_Units = Annotated[float, Field(ge=0, le=MAX_UNITS)]


class SettingsChange(BaseModel):
    """Settings of an environment that are to change; those left out stay as they are, and none of them is ever null."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    LISTS: ClassVar = frozenset({"notification_addresses", "notification_slack"})
    """Settings that are lists of texts."""

    depth_limit: Annotated[int, Field(ge=0, le=MAX_DEPTH)] | SkipJsonSchema[None] = Field(
        default=None, description="Maximum depth of a run"
    )
    chain_runs_limit: Annotated[int, Field(ge=1, le=MAX_CHAIN_RUNS)] | SkipJsonSchema[None] = Field(
        default=None, description="Maximum runs per chain"
    )
    depth_policy: Literal["terminate", "observe"] | SkipJsonSchema[None] = Field(
        default=None, description="What is done about runs that are too deep; `observe` only records them"
    )
    chain_workload_limit: _Units | SkipJsonSchema[None] = Field(
        default=None, description="Maximum workload units per chain; 0: none"
    )
    notification_addresses: Annotated[list[Address], Field(max_length=_MAX_ADDRESSES)] | SkipJsonSchema[None] = Field(
        default=None, description="Who is notified by mail"
    )
    notification_webhooks: Annotated[list[Webhook], Field(max_length=MAX_TARGETS)] | SkipJsonSchema[None] = Field(
        default=None, description="Where signed webhooks (Standard Webhooks) are sent of what people are notified of"
    )
    notification_slack: Annotated[list[Url], Field(max_length=MAX_TARGETS)] | SkipJsonSchema[None] = Field(
        default=None, description="Slack-compatible webhooks, which take `{text}`; best as `${secrets.NAME}`"
    )
    notification_every: Annotated[dict[NoticeKind, str], AfterValidator(_are_periods)] | SkipJsonSchema[None] = Field(
        default=None,
        description="By kind, how long it rests after a notification (`1h`), or `never`; else a day. Terminations: a "
        "day or more",
    )
    workload_allowance: _Units | SkipJsonSchema[None] = Field(
        default=None, description="Workload units per calendar month; 0: none"
    )
    workload_spike_factor: _Units | SkipJsonSchema[None] = Field(
        default=None, description="An hour with this many times the week's median is a spike; 0: never"
    )
    workload_spike_minimum: _Units | SkipJsonSchema[None] = Field(
        default=None, description="Units below which no hour is a spike"
    )

    retention: Annotated[str, AfterValidator(read_retention)] | SkipJsonSchema[None] = Field(
        default=None, description="How long what has ended is kept: `1d` to `3650d`"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _is_given(cls, value: object) -> object:
        if value is None:
            raise ValueError("null is not a value; leave out what is to stay as it is")
        return value
