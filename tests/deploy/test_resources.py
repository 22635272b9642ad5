"""Requests and limits: what was measured, in the manifests, in Compose, and in docs/scaling.md alike."""

import re

import pytest

from penstock.db.rights import SERVICES
from tests.bench.footprint import load_footprints
from tests.deploy.documents import DEPLOY, ROOT, read_yaml
from tests.deploy.manifests import KUBERNETES, build, pods

FOOTPRINTS = load_footprints()
NEEDS = (ROOT / "docs" / "scaling.md").read_text().partition("## What each service needs")[2]
_MIB = {"Mi": 1, "Gi": 1024}


def mib(quantity: str) -> int:
    """A quantity of memory as Kubernetes writes it."""
    return int(quantity[:-2]) * _MIB[quantity[-2:]]


def resources_of(service: str) -> dict[str, dict[str, str]]:
    """What the base asks for a service; executors of both lanes ask for the same."""
    found = [
        spec["containers"][0]["resources"]
        for name, spec in pods(build(KUBERNETES / "base"))
        if name.startswith(f"penstock-{service}")
    ]
    assert found == [found[0]] * len(found)
    resources: dict[str, dict[str, str]] = found[0]
    return resources


@pytest.mark.parametrize("service", SERVICES)
def test_requests_have_room_for_what_was_measured_and_limits_for_several_times_as_much(service: str) -> None:
    resources = resources_of(service)
    assert mib(resources["requests"]["memory"]) >= 1.5 * FOOTPRINTS[service].peak
    assert mib(resources["limits"]["memory"]) >= 4 * FOOTPRINTS[service].peak


@pytest.mark.parametrize("service", SERVICES)
def test_the_table_of_the_guide_is_that_of_the_manifests_and_of_the_measurement(service: str) -> None:
    (row,) = re.findall(rf"^\| {service} \|(.+)\|$", NEEDS, re.MULTILINE)
    idle, peak, request, limit, processor, _ = (cell.strip() for cell in row.split("|"))
    resources, measured = resources_of(service), FOOTPRINTS[service]
    assert (idle, peak) == (f"{measured.idle} MiB", f"{measured.peak} MiB")
    assert (request, limit) == (resources["requests"]["memory"], resources["limits"]["memory"])
    assert processor == resources["requests"]["cpu"]


@pytest.mark.parametrize("service", SERVICES)
def test_compose_gives_a_service_as_much_memory_as_kubernetes(service: str) -> None:
    given = read_yaml(DEPLOY / "compose.yaml")["services"][service]["deploy"]["resources"]
    resources = resources_of(service)
    for kind, name in (("reservations", "requests"), ("limits", "limits")):
        assert given[kind]["memory"].lower() == resources[name]["memory"].removesuffix("i").lower()
