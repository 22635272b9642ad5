"""The Compose file: valid, without a default password, its settings known, its services started in order."""

import re

from penstock.settings import check_amqp_url, check_database_url
from tests.deploy.documents import DEPLOY, Document, known_variables, read_yaml, run_tool

COMPOSE = DEPLOY / "compose.yaml"
PRODUCT = ("ingress", "scheduler", "executor")
LONG_LIVED = ("postgres", "rabbitmq", "prometheus", "grafana", *PRODUCT)


def _services() -> Document:
    services: Document = read_yaml(COMPOSE)["services"]
    return services


def test_the_file_keeps_to_the_schema_of_compose() -> None:
    run_tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


def test_no_password_has_a_default_and_each_is_asked_for_in_the_example() -> None:
    text = COMPOSE.read_text()
    used = set(re.findall(r"\$\{(\w+)", text))
    required = set(re.findall(r"\$\{(\w+):\?", text))
    with_default = set(re.findall(r"\$\{(\w+):-[^}]+\}", text))
    secret = {name for name in used if re.search(r"PASSWORD|TOKEN|SECRET", name)}
    assert secret <= required
    assert not secret & with_default
    listed = re.findall(r"^(?:# )?(\w+)=(.*)$", (DEPLOY / "compose.env.example").read_text(), re.MULTILINE)
    assert {name for name, _ in listed} == used
    assert {name for name, value in listed if not value} >= required


def test_every_setting_of_a_service_exists() -> None:
    for name in (*PRODUCT, "migrate", "provision", "cli"):
        service = _services()[name]
        given = set(service.get("environment", {}))
        assert given <= known_variables(name), (name, given - known_variables(name))


def test_urls_of_servers_are_valid_once_the_passwords_are_in() -> None:
    for name in (*PRODUCT, "migrate", "provision", "cli"):
        for variable, value in _services()[name]["environment"].items():
            written = re.sub(r"\$\{[^}]+\}", "x" * 64, str(value))
            if variable.endswith("DATABASE_URL"):
                check_database_url(written)
            if variable.endswith("AMQP_URL"):
                check_amqp_url(written)


def test_whoever_is_waited_for_can_say_that_it_is_there() -> None:
    services = _services()
    for name in LONG_LIVED:
        has_check = "healthcheck" in services[name] or name in PRODUCT  # those have the image's
        assert has_check, name
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            ends = services[other].get("restart") == "no"
            assert how["condition"] == ("service_completed_successfully" if ends else "service_healthy"), name


def test_the_image_is_built_once_before_anything_that_needs_it() -> None:
    services = _services()
    building = [name for name, service in services.items() if "build" in service]
    assert building == ["migrate"]
    image = services["migrate"]["image"]
    for name, service in services.items():
        if service["image"] == image and name != "migrate":
            assert "migrate" in service["depends_on"], name


def test_the_services_cannot_write_or_gain_rights() -> None:
    for name in (*PRODUCT, "migrate", "provision", "cli"):
        service = _services()[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        seconds = int(service["stop_grace_period"].removesuffix("s"))
        assert seconds >= 35


def test_only_the_public_port_may_be_published_beyond_this_machine() -> None:
    for name, service in _services().items():
        for port in service.get("ports", ()):
            is_public = (name, str(port).rpartition(":")[2]) == ("ingress", "8080")
            assert str(port).startswith("127.0.0.1:") or (is_public and "127.0.0.1" in port), (name, port)


def test_what_it_mounts_from_here_exists_and_what_it_keeps_has_a_volume() -> None:
    document = read_yaml(COMPOSE)
    named = set()
    for service in document["services"].values():
        for volume in service.get("volumes", ()):
            source = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).is_dir(), source
            else:
                named.add(source)
    assert named == set(document["volumes"])
