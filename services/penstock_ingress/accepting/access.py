"""Who is calling: an admin, or nobody in particular. Tokens are compared by their hashes, in constant time."""

import hashlib
import hmac

from pydantic import SecretStr

from penstock_ingress.rules import bubble
from penstock_ingress.rules.replies import Refusal


class AdminTokens:
    """The tokens that are an admin in every environment; without any, nobody is."""

    def __init__(self, token: SecretStr | None) -> None:
        self._digest = None if token is None else _digest(token.get_secret_value())

    def is_admin(self, token: str) -> bool:
        """Whether `token` is one of them."""
        return self._digest is not None and hmac.compare_digest(self._digest, _digest(token))

    def identify(self, token: str | None) -> bool:
        """Whether the caller of the public port is an admin; False for an anonymous one. Raises Refusal for a token
        nobody has.
        """
        if token is None:
            return False
        if not self.is_admin(token):
            raise Refusal(bubble.invalid_token(token))
        return True


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
