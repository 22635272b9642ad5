"""The vendored module of the console: it is what its sources make, and what is recorded of it holds."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "services" / "penstock_ingress" / "console" / "static"
RECORD = json.loads((STATIC / "vendor.json").read_text())
UNREACHABLE = 75
"""How the script ends where no registry answers."""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_bundle_and_its_sources_are_the_recorded_ones() -> None:
    assert digest(STATIC / "vendor.js") == RECORD["sha256"], "run .ci/vendor-console"
    sources = {name: digest(ROOT / ".ci" / "console" / name) for name in RECORD["sources"]}
    assert sources == RECORD["sources"], "run .ci/vendor-console"


def test_the_lock_has_the_recorded_versions_and_names_no_registry() -> None:
    text = (ROOT / ".ci" / "console" / "package-lock.json").read_text()
    assert "resolved" not in text
    packages = json.loads(text)["packages"]
    for name, recorded in RECORD["packages"].items():
        package = packages[f"node_modules/{name}"]
        assert (package["version"], package["integrity"]) == (recorded["version"], recorded["integrity"])


def test_the_licence_of_everything_in_it_is_beside_it() -> None:
    text = (STATIC / "vendor-licences.txt").read_text()
    for name, package in RECORD["packages"].items():
        assert f"{name} {package['version']}\n" in text
        assert package["license"] in {"MIT", "Apache-2.0", "ISC", "BSD-3-Clause"}


def test_the_sources_make_the_bundle_where_there_is_node_and_a_registry() -> None:
    if shutil.which("npm") is None:
        return  # the recorded hashes are the check
    done = subprocess.run(
        [".ci/vendor-console", "--compare"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode in {0, UNREACHABLE}, done.stdout + done.stderr
