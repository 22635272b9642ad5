"""The setting of the test kit."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class KitSettings(BaseSettings):
    """Where tests of apps may make their databases."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", frozen=True, extra="ignore")

    test_database_url: str | None = Field(
        default=None,
        description="A PostgreSQL in which `penstock.testing` may create databases; none: it starts one of its own",
    )
