"""Writes the Kubernetes schemas beside it, from those that the package `kubernetes-validate` ships:

    pip download --no-deps kubernetes-validate && unzip kubernetes_validate-*.whl -d FOLDER
    python -m tests.deploy.schemas.make FOLDER/kubernetes_validate/kubernetes-json-schema

They are its strict ones (a field that is not known is an error), for the oldest and the newest version that we support,
with what our kinds need and without descriptions. `custom.json`, for resources of operators, is written by hand.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KINDS = (
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.api.core.v1.Secret",
    "io.k8s.api.core.v1.Service",
    "io.k8s.api.core.v1.ServiceAccount",
    "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.apps.v1.StatefulSet",
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    "io.k8s.api.batch.v1.Job",
    "io.k8s.api.networking.v1.Ingress",
    "io.k8s.api.networking.v1.NetworkPolicy",
    "io.k8s.api.policy.v1.PodDisruptionBudget",
)
VERSIONS = ("1.28", "1.37")


def prune(definitions: dict[str, Any]) -> dict[str, Any]:
    """What KINDS need of all definitions, their references made local."""
    wanted, found = list(KINDS), dict[str, Any]()
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _strip(definitions[name])
            wanted += _references(found[name])
    return dict(sorted(found.items()))


def _strip(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strip(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = dict[str, Any]()
    for key, value in schema.items():
        if key == "properties":
            kept[key] = {name: _strip(inner) for name, inner in value.items()}
        elif key == "$ref":
            kept[key] = f"#/$defs/{value.rpartition('/')[2]}"
        elif key != "description" and not key.startswith("x-kubernetes"):
            kept[key] = _strip(value)
    return kept


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for item in schema:
            yield from _references(item)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref":
                yield value.rpartition("/")[2]
            else:
                yield from _references(value)


def main(source: Path) -> None:
    """Write one file per version."""
    for version in VERSIONS:
        read = json.loads((source / f"v{version}.0-local-strict" / "_definitions.json").read_text())
        made = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": prune(read["$defs"])}
        target = Path(__file__).with_name(f"kubernetes-{version}.json")
        target.write_text(json.dumps(made, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
