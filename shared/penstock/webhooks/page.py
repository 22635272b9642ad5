"""The table of providers as people read it, in docs/webhooks.md."""

from collections.abc import Iterator, Sequence
from typing import Final

from penstock.webhooks.provider_table import PROVIDERS
from penstock.webhooks.recipes import (
    Basic,
    Certified,
    Nothing,
    PayloadToken,
    Proof,
    Provider,
    Recipe,
    Secrets,
    Token,
    WebToken,
    Where,
)
from penstock.webhooks.sources import BODY_SECONDS, ID_LIFETIME

BEGIN: Final = "<!-- The tables of providers: python -m penstock.webhooks docs/webhooks.md writes them. -->"
END: Final = "<!-- The end of the tables. -->"
_UNITS: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
_NAMES: Final = {
    "sha1": "HMAC-SHA1",
    "sha256": "HMAC-SHA256",
    "ed25519": "Ed25519",
    "p256": "ECDSA P-256",
}


def render_tables() -> str:
    """Both tables: what to set for each scheme, and what is then done."""
    settings = [("scheme", "sender", "`secrets` holds", "further keys, those in bold needed")]
    settings += [(f"`{name}`", row.title, row.secrets.value, _list_keys(row)) for name, row in PROVIDERS.items()]
    doings: list[tuple[str, ...]] = [
        ("scheme", "proof", "may be off by", "copies are known by", "type", "handshake", "answer")
    ]
    doings += [(f"`{name}`", *_describe(row)) for name, row in PROVIDERS.items()]
    return f"{_table(settings)}\n\n{_table(doings)}"


def replace_tables(page: str) -> str:
    """The page with these tables between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{render_tables()}\n\n{END}{after}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _list_keys(row: Provider) -> str:
    needed = [f"**`{key}`**" for key in row.needs]
    either = ["**`jwks`** or `secrets`"] if row.secrets is Secrets.KEY else []
    taken = [f"`{key}`" for key in row.takes if not (either and key == "jwks")]
    senders = [f"`senders` are {row.senders}"] if row.senders else []
    listed = ", ".join([*needed, *either, *taken, *(["`tolerance`"] if row.is_timed else [])])
    return "; ".join(filter(None, [listed, *senders])) or "–"


def _describe(row: Provider) -> tuple[str, ...]:
    ids = " or ".join(" + ".join(_place(where) for where in places) for places in row.ids)
    known = f"{ids}, {ID_LIFETIME.days} d" if ids else f"the body, {_body_time(row)}"
    signed = "" if row.is_id_signed or not ids else ", and by what is signed"
    proofs = list(dict.fromkeys(_proof(proof) for proof in row.proofs)) or ["as you say"]
    note = f"; {row.note}" if row.note else ""
    within = "" if row.answer_seconds is None else f", within {_time(row.answer_seconds)}"
    return (
        f"{'; or '.join(proofs)}{note}",
        _tolerance(row),
        f"{known}{signed}",
        " or ".join(dict.fromkeys(_place(where) for where in row.types)) or "–",
        row.handshake.value if row.handshake else "–",
        f"{row.form.value}{within}",
    )


def _proof(proof: Proof) -> str:
    match proof:
        case Recipe():
            place = f"`{proof.header}`" if proof.in_payload is None else f"`{proof.in_payload}` in the payload"
            return f"{place}: {_NAMES[proof.algorithm]} of `{proof.signed}`"
        case Token():
            return f"`{proof.header}`: the token"
        case Basic():
            return "`Authorization`: user and password"
        case PayloadToken():
            return f"`{proof.payload}` in the payload: the secret"
        case Certified():
            hosts = ", ".join(f"`{host.removesuffix(':443')}`" for host in proof.hosts)
            return f"RSA, with a certificate from {hosts}"
        case WebToken():
            return "`Authorization`: a token"
        case Nothing():
            return "none"


def _place(where: Where) -> str:
    return f"`{where.header}`" if where.header is not None else f"`payload.{where.payload}`"


def _tolerance(row: Provider) -> str:
    times = {proof.tolerance_seconds for proof in _timed(row)}
    return " / ".join(_time(one) for one in sorted(times)) or "–"


def _timed(row: Provider) -> Iterator[Recipe | Certified | WebToken]:
    for proof in row.proofs:
        if isinstance(proof, Certified | WebToken) or (isinstance(proof, Recipe) and proof.time is not None):
            yield proof


def _body_time(row: Provider) -> str:
    if row.copy_seconds is not None:
        return _time(row.copy_seconds)
    is_signed = any(isinstance(proof, Recipe | Certified) for proof in _timed(row))
    return "for as long as its time holds" if is_signed else _time(BODY_SECONDS)


def _time(seconds: float) -> str:
    size, unit = next((size, unit) for size, unit in _UNITS if seconds >= size and seconds % size == 0)
    return f"{seconds / size:g} {unit}"
