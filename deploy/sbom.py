"""Prints a bill of materials of the environment that runs it: CycloneDX 1.6, one component per installed distribution,
and one per package that the console's vendored module is made of.

The image is built with it; `docker run --rm --entrypoint cat penstock /opt/penstock/sbom.cdx.json` shows the result.
"""

import json
import re
import sys
from importlib.metadata import Distribution, distributions
from importlib.resources import files
from typing import Any


def describe(distribution: Distribution) -> dict[str, Any]:
    """One component, as CycloneDX writes it; its identity is a package URL (https://github.com/package-url/purl-spec)."""
    name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
    component: dict[str, Any] = {
        "type": "library",
        "name": name,
        "version": distribution.version,
        "purl": f"pkg:pypi/{name}@{distribution.version}",
        "bom-ref": f"{name}@{distribution.version}",
    }
    if "License-Expression" in distribution.metadata:
        component["licenses"] = [{"expression": distribution.metadata["License-Expression"]}]
    return component


def describe_vendored() -> list[dict[str, Any]]:
    """What is in the console's module, as the file beside it records."""
    record = files("penstock_ingress") / "console" / "static" / "vendor.json"
    packages = json.loads(record.read_text())["packages"]
    return [
        {
            "type": "library",
            "name": name,
            "version": one["version"],
            "purl": f"pkg:npm/{name.replace('@', '%40')}@{one['version']}",
            "bom-ref": f"npm:{name}@{one['version']}",
            "licenses": [{"license": {"id": one["license"]}}],
        }
        for name, one in packages.items()
    ]


def build() -> dict[str, Any]:
    """The whole document. It names no time, so that the same packages make the same document."""
    components = sorted((describe(one) for one in distributions()), key=lambda one: str(one["name"]))
    components += describe_vendored()
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": "penstock", "bom-ref": "image"}},
        "components": components,
    }


if __name__ == "__main__":
    json.dump(build(), sys.stdout, indent=1)
    sys.stdout.write("\n")
