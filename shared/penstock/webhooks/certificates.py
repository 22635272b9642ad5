"""Certificates whose keys sign webhooks: where they may come from, and what makes one good.

The one that is fetched has to be valid now and hold an RSA key of 2048 bits. Where a source names a `ca`, a chain has
to lead from it to one of those. Otherwise it is vouched for by where it comes from: a host of the provider, over TLS
that the system's own certificates vouch for, as the providers' own libraries have it; issuers that come with it have to
be its issuers.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import BasicConstraints, Certificate, ExtensionNotFound, load_pem_x509_certificates

MAX_URL: Final = 500
MIN_KEY_BITS: Final = 2048
_MAX_CERTIFICATES: Final = 10


def read_signing_key(pem: bytes, ca: str | None, now: float) -> tuple[RSAPublicKey, float]:
    """The key of the first certificate, and until when that is valid. Raises ValueError when it is not good."""
    certificates = load_pem_x509_certificates(pem)
    if len(certificates) > _MAX_CERTIFICATES:
        raise ValueError("too many certificates")
    leaf, issuers = certificates[0], certificates[1:]
    if not _is_valid(leaf, now):
        raise ValueError("the certificate is not valid now")
    if ca is not None:
        _check_chain(leaf, [one for one in issuers if _is_authority(one) and _is_valid(one, now)], read_authorities(ca))
    elif issuers and not any(_is_issued_by(leaf, issuer) for issuer in issuers):
        raise ValueError("the certificate was not issued by those that come with it")
    key = leaf.public_key()
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_KEY_BITS:
        raise ValueError(f"the certificate does not hold an RSA key of at least {MIN_KEY_BITS} bits")
    return key, leaf.not_valid_after_utc.timestamp()


def read_authorities(pem: str) -> Sequence[Certificate]:
    """The certificates that others have to lead to. Raises ValueError when there are none."""
    return load_pem_x509_certificates(pem.encode())


def is_trusted_url(url: object, hosts: Sequence[str]) -> bool:
    """Whether something may be fetched from there: over https, from one of the hosts, without a user. In a host, `*`
    stands for one label; one with a port means that port alone. A bucket of Amazon S3 has a host too, that of its
    owner: `sns.s3.amazonaws.com` is not one of SNS.
    """
    if not isinstance(url, str) or len(url) > MAX_URL or not url.isascii() or not url.isprintable() or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        port = parts.port or 443
    except ValueError:
        return False
    if parts.scheme != "https" or parts.username is not None or parts.password is not None or parts.fragment:
        return False
    return any(_matches(parts, port, host) for host in hosts)


def _matches(parts: SplitResult, port: int, pattern: str) -> bool:
    host, colon, wanted_port = pattern.rpartition(":")
    if not colon or "]" in wanted_port:
        host, wanted_port = pattern, ""
    if wanted_port and wanted_port != str(port):
        return False
    labels, wanted = (parts.hostname or "").split("."), host.lower().strip("[]").split(".")
    return len(labels) == len(wanted) and all(
        label == one or (one == "*" and label != "" and not label.startswith("s3"))
        for label, one in zip(labels, wanted, strict=True)
    )


def _check_chain(leaf: Certificate, issuers: Sequence[Certificate], roots: Sequence[Certificate]) -> None:
    """Raises ValueError unless issuers lead from the leaf to a root; a leaf that is a root leads there by itself."""
    current, remaining = leaf, list(issuers)
    while True:
        if any(current == root or _is_issued_by(current, root) for root in roots):
            return
        following = next((issuer for issuer in remaining if _is_issued_by(current, issuer)), None)
        if following is None:
            raise ValueError("no chain leads from the certificate to one that the source trusts")
        remaining.remove(following)
        current = following


def _is_issued_by(certificate: Certificate, issuer: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_authority(certificate: Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(BasicConstraints).value.ca
    except (ExtensionNotFound, ValueError):
        return False


def _is_valid(certificate: Certificate, now: float) -> bool:
    return certificate.not_valid_before_utc.timestamp() <= now <= certificate.not_valid_after_utc.timestamp()
