"""Writes what the vendored module is made of: `vendor.json` (versions and hashes) and `vendor-licences.txt`.

`python .ci/console/describe.py DIRECTORY`, where DIRECTORY has the built vendor.js beside its node_modules.
"""

import hashlib
import json
import sys
from pathlib import Path

NOT_IN_IT = "esbuild"
"""The tool, and its programs for each kind of machine."""


def main(place: Path) -> None:
    """Write both files into `place`."""
    lock = json.loads((place / "package-lock.json").read_text())
    packages = {
        path.removeprefix("node_modules/"): package
        for path, package in sorted(lock["packages"].items())
        if path and NOT_IN_IT not in path
    }
    described = {
        "built_by": {"esbuild": lock["packages"]["node_modules/esbuild"]["version"]},
        "packages": {
            name: {"version": one["version"], "license": one["license"], "integrity": one["integrity"]}
            for name, one in packages.items()
        },
        "sources": {name: digest(place / name) for name in ("entry.js", "package.json", "package-lock.json")},
        "sha256": digest(place / "vendor.js"),
    }
    (place / "vendor.json").write_text(json.dumps(described, indent=2) + "\n")
    texts = [f"{name} {one['version']}\n\n{licence(place, name)}" for name, one in packages.items()]
    (place / "vendor-licences.txt").write_text(("\n" + "-" * 80 + "\n\n").join(texts))


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def licence(place: Path, name: str) -> str:
    """The text of a package's licence."""
    (path,) = (place / "node_modules" / name).glob("LICENSE*")
    return path.read_text().strip() + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
