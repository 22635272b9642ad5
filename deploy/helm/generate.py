"""Writes the Helm chart beside it from the Kustomize base and the production overlay, which are the only source.

    python deploy/helm/generate.py            writes deploy/helm/penstock
    python deploy/helm/generate.py --check    changes nothing; fails when the chart is out of step

Each resource is what kubectl makes of the source, with some of its parts replaced by template expressions: SLOTS says
which. The default of each value is what stood there, so that the chart with its defaults is the base. values.yaml's
comments, the helpers and Chart.yaml are in `parts/`.
"""

import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

HERE: Final = Path(__file__).parent
CHART: Final = HERE / "penstock"
SOURCE: Final = HERE.parent / "kubernetes"
SERVICES: Final = ("ingress", "scheduler", "executor")
Document = dict[str, Any]

_NAME: Final = "app.kubernetes.io/name"
_INSTANCE: Final = "app.kubernetes.io/instance"
_RELEASE: Final = "{{ .Release.Name }}"
_POD: Final = ("spec", "template", "spec")
_CONTAINER: Final = (*_POD, "containers", 0)
Path_ = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """A part of a resource that a value takes the place of: inline, or as a block of YAML. A part that is not there in
    the source is `added` when the value is not empty.
    """

    path: Path_
    expression: str
    is_block: bool = False
    is_added: bool = False


@dataclass(slots=True)
class Template:
    """A resource on its way to become a template: its slots, and the condition on which it is rendered."""

    document: Document
    condition: str = ""
    unless: tuple[str, str] = ("", "")
    """A key at the top of `spec` that is left out when a value is true: (key, value)."""
    slots: list[Slot] = field(default_factory=list)


def build(directory: Path) -> list[Document]:
    """What kubectl makes of a directory of the source."""
    beside = Path(sys.executable).with_name("kubectl")
    kubectl = str(beside) if beside.exists() else shutil.which("kubectl") or "kubectl"
    made = subprocess.run((kubectl, "kustomize", directory), capture_output=True, text=True, check=True).stdout
    return [document for document in YAML(typ="safe", pure=True).load_all(made) if document]


def collect() -> list[Document]:
    """The base's resources, and those that the production overlay adds."""
    base = build(SOURCE / "base")
    known = {(one["kind"], one["metadata"]["name"]) for one in base}
    added = [
        one for one in build(SOURCE / "overlays" / "production") if (one["kind"], one["metadata"]["name"]) not in known
    ]
    return base + added


def convert(document: Document) -> Template:
    """The template of one resource."""
    template = Template(document)
    service = document["metadata"]["labels"].get("app.kubernetes.io/component", "")
    if document["metadata"]["name"] == "penstock-executor-bulk":
        service = "executorBulk"
    match document["kind"]:
        case "Deployment":
            _convert_deployment(template, service)
        case "Job":
            _convert_job(template)
        case "PodDisruptionBudget":
            template.condition = _when(service, "podDisruptionBudget.enabled")
            path = f".Values.{service}.podDisruptionBudget.maxUnavailable"
            template.slots.append(Slot(("spec", "maxUnavailable"), path))
        case "ConfigMap":
            template.slots.append(Slot(("data",), ".Values.settings", is_block=True))
        case "NetworkPolicy":
            template.condition = ".Values.networkPolicies.enabled"
        case "ServiceMonitor":
            template.condition = ".Values.serviceMonitor.enabled"
            template.slots.append(Slot(("metadata", "labels", "@labels"), ".Values.serviceMonitor.labels", True, True))
        case "Ingress":
            _convert_way_in(template)
        case "HorizontalPodAutoscaler" | "ScaledObject":
            _convert_scaling(template, service)
        case _:
            pass
    return template


def _when(service: str, value: str) -> str:
    condition = f".Values.{service}.{value}"
    return f"and .Values.{service}.enabled {condition}" if service == "executorBulk" else condition


def _convert_deployment(template: Template, service: str) -> None:
    values = f".Values.{service}"
    template.slots += [
        Slot(("spec", "replicas"), f"{values}.replicas"),
        Slot((*_POD, "terminationGracePeriodSeconds"), f"{values}.terminationGracePeriodSeconds"),
        Slot((*_CONTAINER, "resources"), f"{values}.resources", is_block=True),
        Slot((*_CONTAINER, "@extra"), f"{values}.container", is_block=True, is_added=True),
        Slot((*_POD, "@extra"), f"{values}.pod", is_block=True, is_added=True),
        Slot(
            ("spec", "template", "metadata", "annotations"),
            f'(merge (dict "checksum/settings" (toYaml .Values.settings | sha256sum)) {values}.podAnnotations)',
            is_block=True,
        ),
    ]
    if service == "executorBulk":
        template.condition = ".Values.executorBulk.enabled"
    if service != "scheduler":
        template.unless = ("replicas", f"{values}.autoscaling.enabled")
    of_secret = "executor" if service == "executorBulk" else service
    _convert_pod(template, {f"penstock-{of_secret}": f".Values.{of_secret}.existingSecret"})
    if service == "executor":
        names = [variable["name"] for variable in template.document["spec"]["template"]["spec"]["containers"][0]["env"]]
        lanes: Path_ = (*_CONTAINER, "env", names.index("PENSTOCK_EXECUTOR_LANES"), "value")
        template.slots.append(Slot(lanes, f"{values}.lanes"))
    template.slots.append(Slot((*_CONTAINER, "env", "@extra"), f"{values}.env", is_block=True, is_added=True))


def _convert_job(template: Template) -> None:
    template.condition = ".Values.migrate.enabled"
    hook = {"helm.sh/hook": "pre-install,pre-upgrade", "helm.sh/hook-delete-policy": "before-hook-creation"}
    template.document["metadata"]["annotations"] = hook
    template.slots.append(Slot((*_CONTAINER, "resources"), ".Values.migrate.resources", is_block=True))
    # The hook runs before the chart's ServiceAccounts exist, and needs no rights of one.
    del template.document["spec"]["template"]["spec"]["serviceAccountName"]
    _convert_pod(template, {})


def _convert_pod(template: Template, secrets: Mapping[str, str]) -> None:
    names = {
        **secrets,
        "penstock-owner": ".Values.migrate.existingSecret",
        "penstock-keys": ".Values.keys.existingSecret",
        "penstock-smtp": ".Values.smtp.existingSecret",
    }
    container = template.document["spec"]["template"]["spec"]["containers"][0]
    container["imagePullPolicy"] = ""
    template.slots += [
        Slot((*_CONTAINER, "image"), '(include "penstock.image" .)'),
        Slot((*_CONTAINER, "imagePullPolicy"), ".Values.image.pullPolicy"),
        Slot((*_POD, "imagePullSecrets"), ".Values.image.pullSecrets", is_block=True, is_added=True),
    ]
    for index, variable in enumerate(container["env"]):
        name = variable.get("valueFrom", {}).get("secretKeyRef", {}).get("name")
        if name is not None:
            path: Path_ = (*_CONTAINER, "env", index, "valueFrom", "secretKeyRef", "name")
            template.slots.append(Slot(path, names[name]))


def _convert_way_in(template: Template) -> None:
    values = ".Values.publicIngress"
    template.condition = f"{values}.enabled"
    host = f'(required "publicIngress.host is needed" {values}.host)'
    template.slots += [
        Slot(("metadata", "annotations"), f"{values}.annotations", is_block=True),
        Slot(("spec", "ingressClassName"), f"{values}.className"),
        Slot(("spec", "tls", 0, "hosts", 0), host),
        Slot(("spec", "tls", 0, "secretName"), f"{values}.tlsSecretName"),
        Slot(("spec", "rules", 0, "host"), host),
    ]


def _convert_scaling(template: Template, service: str) -> None:
    values = f".Values.{service}.autoscaling"
    template.condition = _when(service, "autoscaling.enabled")
    if template.document["kind"] == "HorizontalPodAutoscaler":
        target: Path_ = ("spec", "metrics", 0, "resource", "target", "averageUtilization")
        template.slots += [
            Slot(("spec", "minReplicas"), f"{values}.minReplicas"),
            Slot(("spec", "maxReplicas"), f"{values}.maxReplicas"),
            Slot(target, f"{values}.cpuUtilization"),
        ]
        return
    template.slots += [
        Slot(("spec", "minReplicaCount"), f"{values}.minReplicas"),
        Slot(("spec", "maxReplicaCount"), f"{values}.maxReplicas"),
        Slot(("spec", "fallback", "replicas"), f"{values}.fallbackReplicas"),
    ]
    for index, threshold in enumerate(("runsPerReplica", "waitSeconds")):
        metadata: Path_ = ("spec", "triggers", index, "metadata")
        template.slots += [
            Slot((*metadata, "serverAddress"), f"{values}.prometheus"),
            Slot((*metadata, "threshold"), f"({values}.{threshold} | toString | quote)"),
        ]


def read_values(templates: list[Template]) -> Document:
    """The default of every value: what stood in its place."""
    values = _read_parts("values.yaml")
    for template in templates:
        for slot in template.slots:
            found = re.fullmatch(r"\(?\.Values((?:\.\w+)+)( \| toString \| quote\))?", slot.expression)
            if found is None or slot.is_added:
                continue
            *folders, name = found[1].strip(".").split(".")
            place = values
            for folder in folders:
                place = place.setdefault(folder, {})
            if place.get(name) is None:
                default = _at(template.document, slot.path)
                place[name] = int(default) if found[2] else default
    return values


def _read_parts(name: str) -> Document:
    loaded: Document = YAML(pure=True).load((HERE / "parts" / name).read_text())
    return loaded


def _at(node: Any, path: Path_) -> Any:
    for key in path:
        node = node[key]
    return node


def render(template: Template) -> str:
    """The text of a template."""
    document = json.loads(json.dumps(template.document))
    marks = dict[str, Slot]()
    for slot in template.slots:
        mark = f"SLOT{len(marks):03}"
        marks[mark] = slot
        _put(document, slot, mark)
    text = _dump(_localise(document))
    key, value = template.unless
    lines = [
        f"{{{{- if not {value} }}}}\n{_fill(line, marks)}\n{{{{- end }}}}"
        if key and line.startswith(f"  {key}:")
        else _fill(line, marks)
        for line in text.splitlines()
    ]
    body = "\n".join(lines) + "\n"
    return f"{{{{- if {template.condition} }}}}\n{body}{{{{- end }}}}\n" if template.condition else body


def _put(document: Document, slot: Slot, mark: str) -> None:
    *path, name = slot.path
    place = _at(document, tuple(path))
    if isinstance(place, list) and isinstance(name, str):
        place.append(mark)
    elif isinstance(name, str) and isinstance(place, dict) and name.startswith("@"):
        place[mark] = None
    else:
        place[name] = mark


def _fill(line: str, marks: Mapping[str, Slot]) -> str:
    found = re.search(r"SLOT\d{3}", line)
    if found is None:
        return line
    slot = marks[found[0]]
    indent = len(line) - len(line.lstrip())
    if not slot.is_block:
        return line.replace(found[0], f"{{{{ {slot.expression} }}}}")
    opening, _, _ = line.partition(found[0])
    if not slot.is_added:
        return f"{opening.rstrip()}\n{' ' * (indent + 2)}{{{{- toYaml {slot.expression} | nindent {indent + 2} }}}}"
    within = f"{' ' * indent}{{{{- with {slot.expression} }}}}\n"
    if opening.strip() in {"", "-"}:  # more keys of a mapping, more items of a list
        content = f"{' ' * indent}{{{{- toYaml . | nindent {indent} }}}}\n"
    else:
        content = f"{opening.rstrip()}\n{' ' * (indent + 2)}{{{{- toYaml . | nindent {indent + 2} }}}}\n"
    return f"{within}{content}{' ' * indent}{{{{- end }}}}"


def _localise(node: Any) -> Any:
    """The same with the names of the release: several may be in one cluster, or in one namespace."""
    if isinstance(node, list):
        return [_localise(item) for item in node]
    if isinstance(node, str):
        local = re.sub(r"^penstock(?=$|-)", _RELEASE, node) if not node.startswith("SLOT") else node
        return local.replace('namespace="penstock"', 'namespace="{{ .Release.Namespace }}"')
    if not isinstance(node, dict):
        return node
    made = {key: value if key in {_NAME, "app.kubernetes.io/part-of", "image"} else _localise(value)
            for key, value in node.items()}  # fmt: skip
    if made.get(_NAME) == "penstock":
        made[_INSTANCE] = _RELEASE
    if "containers" in made:
        made["containers"][0]["name"] = "penstock"
    return made


def _dump(document: Document) -> str:
    yaml = YAML(pure=True)
    yaml.width = 10_000
    yaml.default_flow_style = False
    yaml.indent(mapping=2, sequence=2, offset=0)
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


def make_schema(values: Any) -> Document:
    """A JSON Schema of the values: a name that is misspelled, or a value of another type, is refused by Helm."""
    if not isinstance(values, dict):
        kinds = {bool: "boolean", int: "integer", str: "string", list: "array"}
        kind = next((name for python, name in kinds.items() if isinstance(values, python)), None)
        return {} if kind is None else {"type": kind}
    is_open = not values or {"requests", "limits"} <= values.keys() or any("_" in key or "/" in key for key in values)
    if is_open:
        return {"type": "object"}
    properties = {key: make_schema(value) for key, value in values.items()}
    for key in ("maxUnavailable",):
        if key in properties:
            properties[key] = {"type": ["integer", "string"]}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def write_chart(target: Path) -> None:
    """Write the whole chart into an empty directory."""
    (target / "templates").mkdir(parents=True)
    templates = [convert(document) for document in collect()]
    values = read_values(templates)
    for name in ("Chart.yaml", ".helmignore"):
        shutil.copy(HERE / "parts" / name, target / name)
    for name in ("_helpers.tpl", "extra-objects.yaml", "NOTES.txt"):
        shutil.copy(HERE / "parts" / name, target / "templates" / name)
    for name, text in _files(templates):
        (target / "templates" / name).write_text(text)
    (target / "values.yaml").write_text(_dump(values))
    schema = {"$schema": "https://json-schema.org/draft-07/schema#", **make_schema(json.loads(json.dumps(values)))}
    schema["properties"]["global"] = {"type": "object"}
    (target / "values.schema.json").write_text(json.dumps(schema, indent=2) + "\n")


def _files(templates: list[Template]) -> Iterator[tuple[str, str]]:
    """One file per service, and one for the rest of each kind."""
    files = dict[str, list[str]]()
    for template in templates:
        labels = template.document["metadata"]["labels"]
        kind = template.document["kind"]
        name = {"NetworkPolicy": "network-policies", "ServiceMonitor": "monitoring", "ConfigMap": "settings"}.get(
            kind, labels.get("app.kubernetes.io/component", "other")
        )
        files.setdefault(f"{name}.yaml", []).append(render(template))
    for name, texts in files.items():
        yield name, "# Generated by deploy/helm/generate.py from deploy/kubernetes.\n" + "---\n".join(texts)


def main(arguments: list[str]) -> int:
    """Write the chart, or compare it; 1 when it is out of step."""
    with tempfile.TemporaryDirectory() as directory:
        fresh = Path(directory) / "penstock"
        write_chart(fresh)
        if "--check" in arguments:
            stale = sorted(_differing(fresh, CHART))
            sys.stdout.writelines(f"out of step: deploy/helm/penstock/{name}\n" for name in stale)
            return 1 if stale else 0
        if CHART.exists():
            shutil.rmtree(CHART)
        shutil.copytree(fresh, CHART)
    return 0


def _differing(fresh: Path, kept: Path) -> Iterator[str]:
    names = {path.relative_to(root).as_posix() for root in (fresh, kept) for path in root.rglob("*") if path.is_file()}
    for name in names:
        contents = [path.read_bytes() if path.exists() else None for path in (fresh / name, kept / name)]
        if contents[0] != contents[1]:
            yield name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
