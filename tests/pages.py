"""The apps that the pages of the documents show: a page's named files are one app, and what has no name is a part of
it.
"""

import re
from collections.abc import Collection
from pathlib import Path
from shutil import copytree
from typing import Final

from pydantic import JsonValue
from ruamel.yaml import YAML

from penstock.reading.loader import load_app
from tests.docs import DOCUMENTS, ROOT, Block, read_blocks

_APP_KEYS: Final = frozenset(
    {"app", "admins", "notifications", "connectors", "sources", "email", "python", "environments", "options"}
)
_SOURCE_KEYS: Final = frozenset({"scheme", "secrets"})


def parts() -> list[Block]:
    """The blocks of YAML, and of workflows in Python, that no comment calls a file."""
    blocks = [block for path in DOCUMENTS for block in read_blocks(path) if block.file is None]
    return [block for block in blocks if block.language == "yaml" or "app = App()" in block.text]


def write_app(page: Path, directory: Path) -> Path:
    """The app whose files a page shows, below `directory`. Raises AssertionError for a file that is shown twice."""
    app = directory / "app"
    (app / "workflows").mkdir(parents=True)
    (app / "types").mkdir()
    for block in read_blocks(page):
        if block.file is not None:
            path = app / block.file
            assert not path.exists(), f"{block.place}: {block.file} is on this page already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
    if not (app / "app.yaml").exists():
        (app / "app.yaml").write_text("app: shop\n")
    return app


def write_app_with(block: Block, directory: Path) -> Path:
    """The app of a block's page, or the one that a comment before the block names, together with the block."""
    if block.host is None:
        app = write_app(block.place.path, directory)
    else:
        app = directory / "app"
        copytree(ROOT / block.host, app)
    if block.language == "python":
        module = f"part_{block.place.line}"
        (app / f"{module}.py").write_text(block.text)
        _add_to_app(app, f"python: [{module}]\n", {"python"})
        return app
    content = YAML(typ="safe", pure=True).load(block.text.replace("\n---\n", "\n"))
    _add_part(app, block.text, content)
    return app


def problems_of(app: Path) -> list[str]:
    """What `penstock check` would say of it: a page shows nothing that is even warned of."""
    return [str(problem) for problem in load_app(app).problems]


def _add_part(app: Path, text: str, content: JsonValue) -> None:
    if not isinstance(content, dict):
        (app / "workflows" / "part.yaml").write_text(f"{_head(text)}steps:\n{text}")
    elif "workflow" in content:
        (app / "workflows" / "part.yaml").write_text(text)
    elif "type" in content:
        (app / "types" / "part.yaml").write_text(text)
    elif content.keys() >= _SOURCE_KEYS:
        _add_to_app(app, "sources:\n  part:\n" + "".join(f"    {line}\n" for line in text.splitlines()), {"sources"})
    elif content.keys() <= _APP_KEYS:
        _add_to_app(app, text, content.keys())
    else:
        steps = "" if "steps" in content else "steps:\n  - log: a part\n"
        (app / "workflows" / "part.yaml").write_text(f"{_head(text)}{text}{steps}")


def _add_to_app(app: Path, text: str, keys: Collection[str]) -> None:
    """Add keys to app.yaml, in place of those of the same name."""
    path = app / "app.yaml"
    kept = re.split(r"(?m)^(?=\w)", path.read_text())
    path.write_text("".join(part for part in kept if part.partition(":")[0] not in keys) + text)


def _head(text: str) -> str:
    """The name, and every parameter that the part reads."""
    names = sorted(set(re.findall(r"params\.(\w+)", text)))
    parameters = "".join(f"  {name}: {{type: any, optional: true}}\n" for name in names)
    return f"workflow: part\nparameters:\n{parameters}" if names else "workflow: part\n"
