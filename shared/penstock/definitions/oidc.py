"""The issuer whose tokens make a call one of a user of the app (OpenID Connect)."""

from typing import Final

from pydantic import BaseModel, ConfigDict

DEFAULT_ALGORITHMS: Final = ("RS256", "ES256", "PS256", "EdDSA")


class Oidc(BaseModel):
    """`audience`: a token has to be for one of these. `jwks` None: where the issuer's own document says.

    `creates_users`: somebody who comes for the first time becomes a user.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str
    audience: tuple[str, ...]
    algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS
    jwks: str | None = None
    creates_users: bool = True
