"""The ingress's own settings, beside the common ones."""

from pydantic import Field, SecretStr

from penstock.settings import CommonSettings


class IngressSettings(CommonSettings):
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
    max_requests: int = Field(
        default=2000,
        ge=1,
        description="Maximum requests in progress at once, and maximum waiting; others are answered 503",
    )
