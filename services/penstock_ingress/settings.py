"""The ingress's own settings, beside the common ones."""

from typing import Literal

from pydantic import Field, SecretStr

from penstock.networks import Networks
from penstock.outgoing.settings import OutgoingSettings


class IngressSettings(OutgoingSettings):
    """`PENSTOCK_*` of one ingress process."""

    host: str = Field(default="127.0.0.1", description="Address of the public port")
    port: int = Field(default=8080, ge=0, le=65535, description="Port of webhooks, API workflows and the Data API")
    admin_token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="A token that is an admin everywhere, of at least 16 characters; none: nobody is an admin",
    )
    respond_timeout_seconds: float = Field(
        default=60.0, ge=0, le=3600, description="How long a caller waits before it is answered 202"
    )
    max_body_bytes: int = Field(
        default=1024 * 1024, ge=1, le=64 * 1024 * 1024, description="Largest body that the public port reads"
    )
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/?#]+(?:/[^\s?#]*)?$",
        description="Where clients reach the public port, such as https://api.example.com; URLs of files begin with "
        "it, by default with // and the host that a request names",
    )
    hide_api_documentation: bool = Field(
        default=False, description="Show /api/1.1/meta and its swagger.json to bearers of an admin token alone"
    )
    data_api_keys: Literal["display", "id"] = Field(
        default="display",
        description="How answers of the Data API name fields: as they are declared, or by id, as Bubble's internal "
        "names, such as unit_name_text",
    )
    hidden_constraints: Literal["refuse", "drop"] = Field(
        default="refuse",
        description="What becomes of a constraint or an order on a field that privacy rules hide: refuse the request, "
        "or drop it silently, as Bubble does, so that more is found",
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="Reverse proxies whose X-Forwarded-For names the client, as 10.1.0.0/16; by default none: the "
        "client is who connects",
    )
    rate_limit: int = Field(
        default=0,
        ge=0,
        description="Requests per minute of one token, or of one anonymous address, to workflows, runs and things, by "
        "each process; others are answered 429. 0: no limit",
    )
    max_wrong_tokens: int = Field(
        default=60,
        ge=1,
        description="Wrong tokens per minute from one address, until its tokens are answered 429; those that were "
        "right before still work",
    )
    max_requests: int = Field(
        default=2000,
        ge=1,
        description="Maximum requests in progress at once, and maximum waiting; others are answered 503",
    )
