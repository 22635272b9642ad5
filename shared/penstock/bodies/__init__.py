"""Bodies of requests as data: JSON and forms, in any charset, bounded in depth and in the number of fields.

Ingress decodes what arrives, and a delivery that is replayed is decoded once more as it was stored.
"""

from penstock.bodies.decoding import MAX_DEPTH, Kind, decode_body, decode_payload, kind_of, parse_json, without_nul
from penstock.bodies.undecodable import Undecodable

__all__ = ["MAX_DEPTH", "Kind", "Undecodable", "decode_body", "decode_payload", "kind_of", "parse_json", "without_nul"]
