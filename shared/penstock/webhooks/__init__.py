"""How webhooks prove who sent them: one row per provider (`providers`), one engine that verifies and signs by it.

A row says where the signature stands, what it covers and with what key it is made; where a delivery's id, type and
time stand; and what its sender expects as an answer. `verifying` and `signing` are the two directions of one recipe.
What a proof needs from outside, a certificate or a key set, `want` names, and the caller has fetched: nothing here
does I/O.
"""

from penstock.webhooks.requests import Check, Signed, SignedRequest, Verdict
from penstock.webhooks.signing import Unsigned, sign
from penstock.webhooks.verifying import build_check, find_signed, is_usable, want, wants_documents

__all__ = [
    "Check",
    "Signed",
    "SignedRequest",
    "Unsigned",
    "Verdict",
    "build_check",
    "find_signed",
    "is_usable",
    "sign",
    "want",
    "wants_documents",
]
