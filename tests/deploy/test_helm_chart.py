"""The Helm chart: in step with the Kustomize source that it is generated from, and rendered by Helm itself."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import helm_python
import pytest

from tests.deploy.documents import DEPLOY, ROOT, Document, read_documents, read_yaml
from tests.deploy.manifests import KUBERNETES, build, find, kinds, pods, problems

CHART = DEPLOY / "helm" / "penstock"
GENERATOR = DEPLOY / "helm" / "generate.py"
EVERYTHING: Mapping[str, Any] = {
    "image": {"repository": "registry.example.com/penstock", "tag": "9.9.9", "pullSecrets": [{"name": "pull"}]},
    "settings": {"PENSTOCK_LOG_LEVEL": "debug", "PENSTOCK_RATE_LIMIT": "100"},
    "keys": {"existingSecret": "our-keys"},
    "migrate": {"existingSecret": "our-owner"},
    "ingress": {"autoscaling": {"enabled": True}, "env": [{"name": "PENSTOCK_MAX_REQUESTS", "value": "10"}]},
    "scheduler": {"existingSecret": "our-scheduler", "replicas": 5},
    "executor": {
        "autoscaling": {"enabled": True, "runsPerReplica": 50},
        "pod": {"nodeSelector": {"disk": "fast"}},
        "container": {"workingDir": "/app"},
        "podAnnotations": {"team": "flow"},
        "podDisruptionBudget": {"maxUnavailable": 2},
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "publicIngress": {"enabled": True, "host": "runs.example.com", "className": "traefik"},
    "extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}, "data": {"a": "1"}},
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: as-text}\ndata: {}\n",
    ],
}


def _render(values: Mapping[str, Any], *, name: str = "penstock", namespace: str = "penstock") -> list[Document]:
    with helm_python.Chart.load(CHART) as chart:
        made = chart.render(dict(values), name=name, namespace=namespace)
    return [document for path, text in made.items() if path.endswith(".yaml") for document in read_documents(text)]


def test_the_chart_is_what_the_script_generates() -> None:
    done = subprocess.run((sys.executable, GENERATOR, "--check"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nrun: python deploy/helm/generate.py"


def test_a_chart_that_is_out_of_step_is_found(tmp_path: Path) -> None:
    # A copy of deploy/ in which the source has changed, and the chart has not.
    copy = tmp_path / "deploy"
    for name in ("helm", "kubernetes"):
        subprocess.run(("cp", "-r", DEPLOY / name, copy / name if copy.exists() else _made(copy) / name), check=True)
    changed = copy / "kubernetes" / "base" / "scheduler.yaml"
    changed.write_text(changed.read_text().replace("replicas: 2", "replicas: 7"))
    command = (sys.executable, copy / "helm" / "generate.py", "--check")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "out of step: deploy/helm/penstock/values.yaml\n")


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def test_helm_finds_nothing_wrong_with_it() -> None:
    found = helm_python.lint(CHART)
    assert found["errors"] == []
    assert [one["error"] for one in found["messages"]] == ["icon is recommended"]


def _plain(document: Document) -> Document:
    """A resource without what Helm alone has."""

    def strip(node: Any) -> Any:
        if isinstance(node, list):
            return [strip(item) for item in node]
        if not isinstance(node, dict):
            return node
        kept = {key: strip(value) for key, value in node.items() if key != "app.kubernetes.io/instance"}
        kept.pop("imagePullPolicy", None)
        annotations = kept.get("annotations", {})
        for key in [key for key in annotations if key.startswith("helm.sh/") or key == "checksum/settings"]:
            del annotations[key]
        return {key: value for key, value in kept.items() if (key, value) != ("annotations", {})}

    plain: Document = strip(document)
    if plain["kind"] == "Job":
        plain["spec"]["template"]["spec"].pop("serviceAccountName", None)
    return plain


def test_with_its_defaults_it_is_the_base() -> None:
    def by_name(documents: Sequence[Document]) -> dict[tuple[str, str], Document]:
        return {(one["kind"], one["metadata"]["name"]): _plain(one) for one in documents}

    rendered, base = by_name(_render({})), by_name(build(KUBERNETES / "base"))
    assert rendered.keys() == base.keys()
    for key, document in base.items():
        assert rendered[key] == json.loads(json.dumps(document)), key


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_what_it_renders_keeps_to_the_strict_schemas(values: Mapping[str, Any]) -> None:
    assert [problem for document in _render(values) for problem in problems(document)] == []


def test_every_value_arrives() -> None:
    documents = _render(EVERYTHING, name="runs", namespace="apps")
    executor = find(documents, "Deployment", "runs-executor")["spec"]
    pod = executor["template"]["spec"]
    assert "replicas" not in executor
    assert "replicas" not in find(documents, "Deployment", "runs-ingress")["spec"]
    assert find(documents, "Deployment", "runs-scheduler")["spec"]["replicas"] == 5
    assert pod["nodeSelector"] == {"disk": "fast"}
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["containers"][0]["image"] == "registry.example.com/penstock:9.9.9"
    assert pod["containers"][0]["workingDir"] == "/app"
    assert executor["template"]["metadata"]["annotations"]["team"] == "flow"
    assert find(documents, "PodDisruptionBudget", "runs-executor")["spec"]["maxUnavailable"] == 2
    ingress = find(documents, "Deployment", "runs-ingress")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "PENSTOCK_MAX_REQUESTS", "value": "10"} in ingress
    work, age = find(documents, "ScaledObject", "runs-executor")["spec"]["triggers"]
    assert work["metadata"]["threshold"] == "50"
    assert all('namespace="apps"' in trigger["metadata"]["query"] for trigger in (work, age))
    assert find(documents, "ServiceMonitor", "runs")["metadata"]["labels"]["release"] == "prometheus"
    way_in = find(documents, "Ingress", "runs")["spec"]
    assert (way_in["ingressClassName"], way_in["rules"][0]["host"]) == ("traefik", "runs.example.com")
    assert {"runs-more", "as-text"} <= {one["metadata"]["name"] for one in kinds(documents, "ConfigMap")}


def test_secrets_are_those_that_the_values_name_and_none_is_made() -> None:
    documents = _render(EVERYTHING)
    assert not list(kinds(documents, "Secret"))
    named = {
        variable["valueFrom"]["secretKeyRef"]["name"]
        for _, pod in pods(documents)
        for variable in pod["containers"][0]["env"]
        if "valueFrom" in variable
    }
    assert named == {"our-keys", "our-owner", "our-scheduler", "penstock-ingress", "penstock-executor", "penstock-smtp"}
    values = read_yaml(CHART / "values.yaml")
    assert "password" not in json.dumps(values).lower()


def test_two_releases_in_one_namespace_select_no_pods_of_each_other() -> None:
    first, second = _render({}, name="one"), _render({}, name="two")
    names = [{(one["kind"], one["metadata"]["name"]) for one in documents} for documents in (first, second)]
    assert not names[0] & names[1]
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in kinds(second, "Deployment")]
    for document in kinds(first, "Service", "NetworkPolicy", "PodDisruptionBudget"):
        spec = document["spec"]
        selector = spec.get("podSelector") or spec["selector"]
        wanted = selector.get("matchLabels", selector if "matchExpressions" not in selector else None)
        assert wanted is None or not any(wanted.items() <= one.items() for one in labels), document["metadata"]["name"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ingres": {}}, "additional properties 'ingres' not allowed"),
        ({"executor": {"replicas": "many"}}, "/executor/replicas"),
        ({"executor": {"existingSecrets": "x"}}, "'existingSecrets' not allowed"),
        ({"publicIngress": {"enabled": True}}, "publicIngress.host is needed"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(values: Mapping[str, Any], said: str) -> None:
    with pytest.raises(helm_python.HelmError, match=said):
        _render(values)


def test_versions_agree() -> None:
    chart = read_yaml(CHART / "Chart.yaml")
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{chart["appVersion"]}"' in project
    base = read_yaml(KUBERNETES / "base" / "kustomization.yaml")
    assert base["images"][0]["newTag"] == chart["appVersion"]
    assert chart["version"] == chart["appVersion"]


def test_one_deployment_may_serve_both_lanes() -> None:
    documents = _render({"executorBulk": {"enabled": False, "autoscaling": {"enabled": True}},
                         "executor": {"lanes": "interactive,bulk"}})  # fmt: skip
    assert [one["metadata"]["name"] for one in documents if "bulk" in one["metadata"]["name"]] == []
    env = find(documents, "Deployment", "penstock-executor")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "PENSTOCK_EXECUTOR_LANES", "value": "interactive,bulk"} in env
