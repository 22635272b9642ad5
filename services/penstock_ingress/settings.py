"""The ingress's own settings, beside the common ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from penstock.domain.grants import Grant, read_grants
from penstock.networks import Networks
from penstock.outgoing.settings import OutgoingSettings


def _are_grants(text: str) -> str:
    read_grants(text)
    return text


@dataclass(frozen=True, slots=True)
class ConsoleOidc:
    """By whom people log in to the console beside admin tokens, as the settings name them."""

    issuer: str
    client_id: str
    client_secret: SecretStr | None
    scope: str
    claim: str
    roles: Mapping[str, Grant]
    name: str


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
    console_oidc_issuer: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/?#]+(?:/[^\s?#]*)?$",
        description="Whom the console asks who somebody is (OpenID Connect), letter by letter as `iss` of its tokens; "
        "none: people log in with admin tokens alone",
    )
    console_oidc_client_id: str | None = Field(default=None, min_length=1, description="The console's id there")
    console_oidc_client_secret: SecretStr | None = Field(
        default=None, min_length=1, description="The console's secret there; none for a public client"
    )
    console_oidc_scope: str = Field(default="openid email", pattern=r"\bopenid\b", description="What is asked for")
    console_oidc_claim: str = Field(
        default="groups",
        min_length=1,
        description="The claim that says what somebody may do; a name with dots leads into "
        "objects, as realm_access.roles",
    )
    console_oidc_roles: Annotated[str, AfterValidator(_are_grants)] = Field(
        default="",
        description="Roles by value of that claim, as staff=viewer/no-payloads,ops=operator,admins=admin; who has none "
        "of them is not let in",
    )
    console_oidc_name: str = Field(default="your organization", description="How the login page names the issuer")
    trusted_proxies: Networks = Field(
        default=(),
        description="Reverse proxies whose X-Forwarded-For names the client, and X-Forwarded-Proto whether it "
        "uses HTTPS, as 10.1.0.0/16; by default none: the client is who connects",
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

    @model_validator(mode="after")
    def _has_whole_oidc(self) -> Self:
        if self.console_oidc_issuer is not None and not (self.console_oidc_client_id and self.console_oidc_roles):
            raise ValueError("PENSTOCK_CONSOLE_OIDC_ISSUER needs PENSTOCK_CONSOLE_OIDC_CLIENT_ID and _ROLES beside it")
        return self

    @property
    def console_oidc(self) -> ConsoleOidc | None:
        """By whom people log in to the console beside admin tokens; None: by nobody."""
        if self.console_oidc_issuer is None or self.console_oidc_client_id is None:
            return None
        return ConsoleOidc(
            self.console_oidc_issuer,
            self.console_oidc_client_id,
            self.console_oidc_client_secret,
            self.console_oidc_scope,
            self.console_oidc_claim,
            read_grants(self.console_oidc_roles),
            self.console_oidc_name,
        )
