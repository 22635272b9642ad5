"""Kubernetes manifests: what kubectl makes of a directory, and what the schemas say of it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from tests.deploy.documents import DEPLOY, Document, read_documents, read_yaml, run_tool
from tests.deploy.schemas.make import KINDS, VERSIONS

KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = tuple(sorted(path.name for path in (KUBERNETES / "overlays").iterdir()))
_SCHEMAS = Path(__file__).parent / "schemas"
_GROUPS = {"core": "", "apps": "apps/", "autoscaling": "autoscaling/", "batch": "batch/", "policy": "policy/",
           "networking": "networking.k8s.io/"}  # fmt: skip


@cache
def build(directory: Path) -> tuple[Document, ...]:
    """What `kubectl kustomize` makes of a directory."""
    return tuple(read_documents(run_tool("kubectl", "kustomize", directory)))


def all_builds() -> Iterator[tuple[str, Sequence[Document]]]:
    """The base and every overlay, by name."""
    yield "base", build(KUBERNETES / "base")
    for name in OVERLAYS:
        yield name, build(KUBERNETES / "overlays" / name)


def find(documents: Sequence[Document], kind: str, name: str) -> Document:
    """The one resource of a kind and name."""
    (found,) = (one for one in documents if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


def kinds(documents: Sequence[Document], *wanted: str) -> Iterator[Document]:
    """The resources of these kinds."""
    return (document for document in documents if document["kind"] in wanted)


def pods(documents: Sequence[Document]) -> Iterator[tuple[str, Document]]:
    """The name of each workload, and the specification of its pods."""
    for document in kinds(documents, "Deployment", "StatefulSet", "Job"):
        yield document["metadata"]["name"], document["spec"]["template"]["spec"]


def problems(document: Document) -> list[str]:
    """What the schemas have against a resource, in every version of Kubernetes that we support."""
    name = f"{document['apiVersion']}/{document['kind']}"
    core = {f"{_GROUPS[_group(kind)]}{kind.split('.')[-2]}/{kind.split('.')[-1]}": kind for kind in KINDS}
    if name not in core:
        custom = _custom()
        assert name in custom, f"there is no schema for {name}"
        shape = {"apiVersion": {}, "kind": {}, "metadata": _local("metadata"), "spec": _local(name)}
        schema: Mapping[str, Any] = {"properties": shape, "additionalProperties": False, "$defs": custom}
        return _check(document, schema, "")
    return [
        problem
        for version in VERSIONS
        for problem in _check(document, {**_local(core[name]), "$defs": _definitions(version)}, version)
    ]


def _group(kind: str) -> str:
    return kind.split(".")[3]


def _local(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name.replace('~', '~0').replace('/', '~1')}"}


def _check(document: Document, schema: Mapping[str, Any], version: str) -> list[str]:
    errors = jsonschema.Draft202012Validator(schema).iter_errors(document)
    place = f"{document['kind']} {document['metadata']['name']}"
    return [f"{place}: {'.'.join(map(str, error.absolute_path))}: {error.message[:200]} {version}" for error in errors]


@cache
def _definitions(version: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((_SCHEMAS / f"kubernetes-{version}.json").read_text())["$defs"]
    return read


@cache
def _custom() -> dict[str, Any]:
    defs: dict[str, Any] = read_yaml(_SCHEMAS / "custom.yaml")["$defs"]
    return defs
