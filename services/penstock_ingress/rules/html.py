"""Plain HTML pages: one style, no script, and nothing that a browser would have to fetch from elsewhere."""

import base64
import hashlib
import re
from collections.abc import Iterable
from html import escape
from typing import Final

from penstock_ingress.rules.replies import Reply

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d7dce1; --back: #ffffff; --box: #f4f6f8;
  --accent: #0b63b0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa4ae; --line: #343b43; --back: #14181c;
  --box: #1d2329; --accent: #6cb2f5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
p { margin: .5rem 0; }
a { color: var(--accent); }
.soft { color: var(--soft); }
code, pre { font: .875rem/1.5 ui-monospace, monospace; }
code { overflow-wrap: anywhere; }
pre { background: var(--box); border-radius: 6px; padding: .75rem 1rem; overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
td:first-child { width: 34%; }
.operation { border: 1px solid var(--line); border-radius: 6px; padding: .9rem 1rem; margin: .75rem 0; }
.method { display: inline-block; min-width: 3.75rem; color: var(--accent); font-weight: 600; }
form p { margin: 1.1rem 0; }
label { display: block; font-weight: 600; overflow-wrap: anywhere; }
input:not([type=checkbox]), select, textarea { display: block; width: 100%; margin-top: .35rem; padding: .55rem .65rem;
  font: inherit; color: inherit; background: var(--box); border: 1px solid var(--soft); border-radius: 6px; }
input[type=checkbox] { width: 1.2rem; height: 1.2rem; margin: 0 .5rem 0 0; vertical-align: -.2rem; }
button { min-height: 2.75rem; padding: .5rem 1.5rem; font: inherit; font-weight: 600; color: var(--back);
  background: var(--accent); border: 0; border-radius: 6px; }
.wrong { color: #b3261e; font-weight: 600; }
@media (prefers-color-scheme: dark) { .wrong { color: #ff8a80; } }
@media (max-width: 40rem) { main { padding-top: 1.5rem; } table, tbody, tr, td { display: block; }
  td:first-child { width: auto; }
  thead { display: none; } td { border: 0; padding: .1rem 0; } tr { border-bottom: 1px solid var(--line);
  padding: .4rem 0; } }
"""
_CODE: Final = re.compile(r"`([^`]+)`")
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",
    "X-Content-Type-Options": "nosniff",
}


def page(title: str, body: str, *, status: int = 200, has_form: bool = False) -> Reply:
    """A whole page; `body` is HTML. A form in it may be sent to this origin alone."""
    document = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
    headers = _HEADERS
    if has_form:
        policy = _HEADERS["Content-Security-Policy"].replace("form-action 'none'", "form-action 'self'")
        headers = {**_HEADERS, "Content-Security-Policy": policy}
    return Reply(status, document.encode("utf-8", "replace"), "text/html; charset=utf-8", headers)


def element(name: str, text: str) -> str:
    """An element that holds a text."""
    return f"<{name}>{escape(text)}</{name}>"


def prose(text: str) -> str:
    """A text in which `this` is code."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def link(target: str, text: str | None = None) -> str:
    """A link, which shows its target unless a text is given."""
    return f'<a href="{escape(target)}">{escape(target if text is None else text)}</a>'


def rows(of: Iterable[tuple[str, ...]], heads: tuple[str, ...] = ()) -> str:
    """A table whose cells are HTML; `heads` are texts."""
    head = f"<thead><tr>{''.join(element('th', text) for text in heads)}</tr></thead>" if heads else ""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in of)
    return f"<table>{head}<tbody>{body}</tbody></table>"


def prefers_html(accept: str | None) -> bool:
    """Whether a client that sends this `Accept` would rather have HTML than JSON (RFC 9110 section 12.5.1)."""
    return _weigh(accept, "text/html", "text/*") > _weigh(accept, "application/json", "application/*")


def _weigh(accept: str | None, *names: str) -> float:
    """The weight of the first of `names`, or of what stands for everything, that is accepted; 0 for none."""
    weights: dict[str, float] = {}
    for part in (accept or "*/*").lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        given = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        try:
            weights[name] = float(given)
        except ValueError:
            weights[name] = 0.0
    return next((weights[name] for name in (*names, "*/*") if name in weights), 0.0)
