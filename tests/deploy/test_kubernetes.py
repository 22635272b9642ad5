"""The Kustomize base and its overlays: built by kubectl, held against the schemas, and against the code."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from inspect import getsource
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from penstock.contracts.topology import LANES
from penstock.metrics import REGISTRY
from penstock.provisioning.broker_users import PERMISSIONS
from penstock.runtime.probes import add_probes
from penstock.settings import check_amqp_url, check_database_url
from penstock_ingress.settings import IngressSettings
from tests.deploy.documents import Document, known_variables, read_documents, read_yaml
from tests.deploy.manifests import KUBERNETES, all_builds, build, find, kinds, pods, problems

BUILDS = dict(all_builds())
SERVICES = ("ingress", "scheduler", "executor")
EACH = pytest.mark.parametrize("documents", BUILDS.values(), ids=BUILDS.keys())


@EACH
def test_every_resource_keeps_to_the_strict_schema_of_its_kind(documents: Sequence[Document]) -> None:
    assert [problem for document in documents for problem in problems(document)] == []


def test_the_gateway_takes_the_place_of_the_ingress(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = KUBERNETES / "components" / "gateway"
    resources = read_documents((directory / "gateway.yaml").read_text())
    assert [problem for document in resources for problem in problems(document)] == []
    route = find(resources, "HTTPRoute", "penstock")
    (backend,) = route["spec"]["rules"][0]["backendRefs"]
    service = find(BUILDS["production"], "Service", backend["name"])
    assert backend["port"] in {port["port"] for port in service["spec"]["ports"]}


def test_a_shared_directory_of_files_is_mounted_by_every_service(tmp_path: Path) -> None:
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(KUBERNETES / "overlays" / "production", tmp_path)],
        "components": [os.path.relpath(KUBERNETES / "components" / "files-directory", tmp_path)],
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(overlay))
    documents = build(tmp_path)
    claim = find(documents, "PersistentVolumeClaim", "penstock-files")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    deployments = list(kinds(documents, "Deployment"))
    assert len(deployments) == 4
    for deployment in deployments:
        assert problems(deployment) == []
        spec = deployment["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        assert {"name": "PENSTOCK_FILES_URL", "value": "file:///files"} in container["env"]
        assert {"name": "files", "mountPath": "/files"} in container["volumeMounts"]
        assert {"name": "files", "persistentVolumeClaim": {"claimName": "penstock-files"}} in spec["volumes"]
        assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]


@pytest.mark.parametrize(
    ("path", "value"),
    [(("spec", "replica"), 2), (("spec", "template", "spec", "containers", 0, "imagePullPolice"), "Always"),
     (("spec", "replicas"), "two")],
)  # fmt: skip
def test_the_schema_finds_a_misspelled_field_and_a_wrong_type(path: tuple[str | int, ...], value: object) -> None:
    document = json.loads(json.dumps(find(BUILDS["base"], "Deployment", "penstock-ingress")))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert problems(document)


def test_the_schema_finds_a_misspelled_field_of_keda() -> None:
    document = json.loads(json.dumps(find(BUILDS["production"], "ScaledObject", "penstock-executor")))
    document["spec"]["triggers"][0]["metadata"]["threshold"] = 300
    document["spec"]["minReplicas"] = 1
    assert len(problems(document)) == 2


@EACH
def test_every_variable_is_a_setting_of_the_command_that_gets_it(documents: Sequence[Document]) -> None:
    settings = {name for one in kinds(documents, "ConfigMap") for name in one["data"]}
    assert settings <= known_variables("ingress") & known_variables("executor")
    for name, pod in pods(documents):
        container = pod["containers"][0]
        if container["image"].startswith("penstock"):
            given = {variable["name"] for variable in container.get("env", ())}
            assert given <= known_variables(container["args"][0]), name


@EACH
def test_secrets_are_references_that_the_script_makes_or_that_are_optional(documents: Sequence[Document]) -> None:
    assert not list(kinds(documents, "Secret"))
    made = {secret["metadata"]["name"]: set(secret["stringData"]) for secret in _make_secrets()}
    for _, pod in pods(documents):
        for variable in pod["containers"][0].get("env", ()):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference is None:
                assert not re.search(r"PASSWORD|TOKEN|SECRET|_URL", variable["name"]), variable
            elif not reference.get("optional"):
                assert reference["key"] in made[reference["name"]], reference


def _make_secrets(*arguments: str) -> list[Document]:
    script = KUBERNETES / "new_secrets.py"
    done = subprocess.run((sys.executable, script, *arguments), capture_output=True, text=True, check=True)
    items: list[Document] = json.loads(done.stdout)["items"]
    return items


def test_the_script_makes_secrets_that_are_valid_differ_and_agree() -> None:
    once, again = _make_secrets(), _make_secrets("--database", "db.example:5432/other", "--broker", "mq:5672/v")
    assert [problem for secret in once for problem in problems(secret)] == []
    values = [value for secret in (*once, *again) for key, value in secret["stringData"].items() if key != "username"]
    assert len(values) == len(set(values))
    for secret in again:
        data = secret["stringData"]
        if "database-url" in data:
            parts = urlsplit(check_database_url(data["database-url"]))
            assert (parts.username, parts.password) == (data["username"], data["password"])
            assert (parts.hostname, parts.path) == ("db.example", "/other")
        if "amqp-url" in data:
            assert urlsplit(check_amqp_url(data["amqp-url"])).password == data["password"]
    IngressSettings.model_validate(
        {"database_url": "postgresql://x", "amqp_url": "amqp://x", "secret_key": _of(once, "secret-key"),
         "admin_token": _of(once, "admin-token")}
    )  # fmt: skip


def _of(secrets: list[Document], key: str) -> str:
    (value,) = (secret["stringData"][key] for secret in secrets if key in secret["stringData"])
    return str(value)


@EACH
def test_probes_ask_paths_and_ports_that_exist(documents: Sequence[Document]) -> None:
    paths = set(re.findall(r'add_get\("(/\w+)"', getsource(add_probes)))
    assert {"/healthz", "/readyz", "/metrics"} <= paths
    for _, pod in pods(documents):
        container = pod["containers"][0]
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            for how in ("httpGet", "tcpSocket"):
                asked = container.get(kind, {}).get(how)
                if asked is not None:
                    assert asked["port"] in ports
                    assert asked.get("path", "/healthz") in paths
        if container["image"].startswith("penstock") and "ports" in container:
            assert ports["admin"] == IngressSettings.model_fields["admin_port"].default
            assert ports.get("public", 8080) == IngressSettings.model_fields["port"].default
            assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"  # never one that asks the database
            assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


@EACH
def test_services_and_policies_select_pods_and_ports_that_exist(documents: Sequence[Document]) -> None:
    workloads = [one for one in documents if one["kind"] in {"Deployment", "StatefulSet", "Job"}]
    for service in kinds(documents, "Service"):
        selected = [one for one in workloads if _matches(service["spec"]["selector"], one)]
        assert selected
        for one in selected:
            names = {port["name"] for port in one["spec"]["template"]["spec"]["containers"][0]["ports"]}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= names
    for deployment in kinds(documents, "Deployment"):
        assert [one for one in workloads if _matches(deployment["spec"]["selector"]["matchLabels"], one)] == [
            deployment
        ]
    for budget in kinds(documents, "PodDisruptionBudget"):
        labels = budget["spec"]["selector"]["matchLabels"]
        assert labels["app.kubernetes.io/name"] != "penstock" or any(_matches(labels, one) for one in workloads)
    for monitor in kinds(documents, "ServiceMonitor"):
        labels = monitor["spec"]["selector"]["matchLabels"]
        found = [one for one in kinds(documents, "Service") if labels.items() <= one["metadata"]["labels"].items()]
        assert {one["metadata"]["name"] for one in found} == {f"penstock-{name}-admin" for name in SERVICES}
        for endpoint in monitor["spec"]["endpoints"]:
            assert all(endpoint["port"] in {port["name"] for port in one["spec"]["ports"]} for one in found)


def _matches(labels: dict[str, str], workload: Document) -> bool:
    return set(labels.items()) <= set(workload["spec"]["template"]["metadata"]["labels"].items())


@EACH
def test_pods_run_without_root_rights_tokens_or_a_writable_system(documents: Sequence[Document]) -> None:
    for name, pod in pods(documents):
        container = pod["containers"][0]
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
        is_ours = container["image"].startswith("penstock")
        assert container["securityContext"].get("readOnlyRootFilesystem", False) or not is_ours, name
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
        assert "memory" in container["resources"]["limits"], name


@EACH
def test_a_pod_has_longer_to_end_than_its_process_takes_to_drain(documents: Sequence[Document]) -> None:
    default = float(IngressSettings.model_fields["shutdown_grace_seconds"].default)
    for name, pod in pods(documents):
        container = pod["containers"][0]
        if container.get("args", [""])[0] not in SERVICES:
            continue
        given = {variable["name"]: variable.get("value") for variable in container["env"]}
        grace = float(given.get("PENSTOCK_SHUTDOWN_GRACE_SECONDS") or default)
        before = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
        assert pod["terminationGracePeriodSeconds"] >= grace + float(before[1]) + 10, name


@EACH
def test_every_service_is_budgeted_spread_and_kept_apart_from_the_network(documents: Sequence[Document]) -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in kinds(documents, "NetworkPolicy")}
    assert policies["penstock-deny"]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "penstock"}
    assert "ingress" not in policies["penstock-deny"]
    assert "egress" not in policies["penstock-deny"]
    for service in SERVICES:
        deployment = find(documents, "Deployment", f"penstock-{service}")
        assert _matches(policies[f"penstock-{service}"]["podSelector"]["matchLabels"], deployment)
        constraints = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert {one["topologyKey"] for one in constraints} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
        open_ports = {
            port["port"]
            for rule in policies[f"penstock-{service}"]["ingress"]
            if "from" not in rule
            for port in rule["ports"]
        }
        assert open_ports == ({"public"} if service == "ingress" else set())


def test_the_pod_for_the_command_line_is_valid_and_gets_settings_that_exist() -> None:
    pod = read_yaml(KUBERNETES / "cli.yaml")
    as_deployment = json.loads(json.dumps(find(BUILDS["base"], "Deployment", "penstock-ingress")))
    as_deployment["spec"]["template"]["spec"] = pod["spec"]
    assert problems(as_deployment) == []
    assert {one["name"] for one in pod["spec"]["containers"][0]["env"]} <= known_variables("cli")
    policy = find(BUILDS["base"], "NetworkPolicy", "penstock-migrate")["spec"]["podSelector"]["matchExpressions"]
    assert all(pod["metadata"]["labels"][one["key"]] in one["values"] for one in policy)


def test_what_a_step_calls_is_not_in_the_cluster() -> None:
    policy = find(BUILDS["base"], "NetworkPolicy", "penstock-executor")
    outside = policy["spec"]["egress"][-1]["to"]
    refused = {network for block in outside for network in block["ipBlock"]["except"]}
    assert {"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"} <= refused


def test_only_the_public_port_is_led_to_from_outside_and_over_tls() -> None:
    (way_in,) = kinds(BUILDS["production"], "Ingress")
    backends = [path["backend"]["service"] for rule in way_in["spec"]["rules"] for path in rule["http"]["paths"]]
    assert backends == [{"name": "penstock-ingress", "port": {"name": "public"}}]
    assert {host for tls in way_in["spec"]["tls"] for host in tls["hosts"]} == {
        rule["host"] for rule in way_in["spec"]["rules"]
    }
    for name, documents in BUILDS.items():
        for service in kinds(documents, "Service"):
            assert service["spec"].get("type", "ClusterIP") == "ClusterIP", name


def test_what_is_scaled_has_no_number_of_replicas_and_metrics_that_exist() -> None:
    names = {family.name for family in REGISTRY.collect()}
    documents = BUILDS["production"]
    scaled = [*kinds(documents, "ScaledObject", "HorizontalPodAutoscaler")]
    assert len(scaled) == 1 + len(LANES)
    for one in scaled:
        assert "replicas" not in find(documents, "Deployment", one["spec"]["scaleTargetRef"]["name"])["spec"]
    for one in kinds(documents, "ScaledObject"):
        deployment = find(documents, "Deployment", one["spec"]["scaleTargetRef"]["name"])["spec"]["template"]
        lane = deployment["metadata"]["labels"]["penstock.dev/lane"]
        served = {entry["name"]: entry.get("value") for entry in deployment["spec"]["containers"][0]["env"]}
        assert served["PENSTOCK_EXECUTOR_LANES"] == lane
        for trigger in one["spec"]["triggers"]:
            query = trigger["metadata"]["query"]
            used = set(re.findall(r"penstock_\w+(?=\{)", query))
            assert used
            assert used <= names
            assert set(re.findall(r'lane="(\w+)"', query)) == {lane}


@EACH
def test_every_lane_has_executors(documents: Sequence[Document]) -> None:
    served = [
        variable["value"]
        for _, pod in pods(documents)
        for variable in pod["containers"][0].get("env", ())
        if variable["name"] == "PENSTOCK_EXECUTOR_LANES"
    ]
    assert sorted(lane for value in served for lane in value.split(",")) == sorted(LANES)


def test_the_operators_make_the_users_that_provision_would_make() -> None:
    documents = BUILDS["operators"]
    for service, permissions in PERMISSIONS.items():
        given = find(documents, "Permission", f"penstock-{service}")["spec"]
        assert given["permissions"] == permissions._asdict()
        user = find(documents, "User", given["userReference"]["name"])
        assert user["spec"]["importCredentialsSecret"] == {"name": f"penstock-{service}"}
    roles = {role["name"]: role for role in find(documents, "Cluster", "penstock-postgres")["spec"]["managed"]["roles"]}
    assert {f"penstock_{service}" for service in SERVICES} < roles.keys()
    assert roles["penstock_scheduler"]["inRoles"] == ["penstock_partitions"]
    assert "inRoles" not in roles["penstock_executor"]
    assert set(roles["penstock"]["inRoles"]) == roles.keys() - {"penstock"}
    for name in SERVICES:
        assert roles[f"penstock_{name}"]["passwordSecret"] == {"name": f"penstock-{name}"}


@pytest.mark.parametrize("name", ["single-node", "operators"])
def test_servers_are_where_the_secrets_say(name: str) -> None:
    documents = BUILDS[name]
    hosts = {
        urlsplit(value).hostname
        for secret in _make_secrets()
        for key, value in secret["stringData"].items()
        if key.endswith("-url")
    }
    made = {one["metadata"]["name"] for one in kinds(documents, "Service", "RabbitmqCluster")}
    made |= {f"{one['metadata']['name']}-rw" for one in kinds(documents, "Cluster")}
    assert hosts <= made
