"""What a browser is served: the shell, which is the same for every page, and the files that it loads.

The path of a file has the hash of all files in it, so a browser keeps them for good and asks again after an upgrade.
While two releases serve side by side, one may be asked for files of the other: it serves its own, to be kept by nobody.
"""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from penstock_ingress.rules.replies import Reply, problem

STATIC: Final = Path(__file__).parent / "static"
PREFIX: Final = "/console/static"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SHELL: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Penstock</title>
<link rel="icon" href="{static}/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="{static}/console.css">
{modules}
<script type="module" src="{static}/app.js"></script>
</head>
<body>
<div id="app"></div>
<noscript><main><h1>Penstock</h1>
<p>The console needs JavaScript. Without it, there is <a href="/about">a page about this installation</a>, and the
command <code>penstock</code>.</p></main></noscript>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file, as it is and compressed."""

    content_type: str
    body: bytes
    zipped: bytes


@cache
def load_assets() -> Mapping[str, Asset]:
    """Every file below `static` that browsers load, by its path."""
    paths = sorted(path for path in STATIC.rglob("*") if path.suffix in _TYPES)
    return {path.relative_to(STATIC).as_posix(): _load(path) for path in paths}


def _load(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(_TYPES[path.suffix], body, gzip.compress(body, 9, mtime=0))


@cache
def find_build() -> str:
    """What distinguishes these files from those of another release."""
    whole = hashlib.sha256()
    for name, asset in load_assets().items():
        whole.update(f"{name}\0{len(asset.body)}\0".encode() + asset.body)
    return whole.hexdigest()[:16]


@cache
def render_shell() -> Reply:
    """The page that every address of the console answers."""
    static = f"{PREFIX}/{find_build()}"
    # Named here, so that a browser asks for all modules at once instead of finding one behind the other.
    modules = "\n".join(
        f'<link rel="modulepreload" href="{static}/{name}">' for name in load_assets() if name.endswith(".js")
    )
    body = _SHELL.format(static=static, modules=modules).encode()
    headers = {**_HEADERS, "Cache-Control": "no-cache", "Vary": "Accept"}
    return Reply(200, body, "text/html; charset=utf-8", headers)


def answer_asset(build: str, name: str, accept_encoding: str) -> Reply:
    """A file; `build` is the hash in the path."""
    asset = load_assets().get(name)
    if asset is None:
        return problem(404, f"the console has no file {name[:100]!r}")
    kept = "public, max-age=31536000, immutable" if build == find_build() else "no-store"
    headers = {**_HEADERS, "Cache-Control": kept, "Vary": "Accept-Encoding"}
    if _takes_gzip(accept_encoding):
        return Reply(200, asset.zipped, asset.content_type, {**headers, "Content-Encoding": "gzip"})
    return Reply(200, asset.body, asset.content_type, headers)


def _takes_gzip(accept_encoding: str) -> bool:
    for part in accept_encoding.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
