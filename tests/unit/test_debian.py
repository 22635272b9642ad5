"""What is said before apt changes a system, and what the locks hold."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.debian import Plan, describe, read_plan

ROOT = Path(__file__).parents[2]
SIMULATION = """\
Inst libc6 [2.36-9] (2.36-10 Debian:12.15/oldstable [amd64]) []
Inst erlang-base (1:25.2.3 Debian:12.15/oldstable [amd64])
Inst rabbitmq-server (3.10.8-1.1 Debian:12.15/oldstable [all])
Conf erlang-base (1:25.2.3 Debian:12.15/oldstable [amd64])
"""
URIS = """\
'http://mirror.example/erlang-base.deb' erlang-base_25_amd64.deb 9300000 MD5Sum:1
'http://mirror.example/rabbitmq.deb' rabbitmq-server_3_all.deb 15300000 MD5Sum:2
"""


def test_a_plan_says_what_apt_adds_upgrades_and_downloads() -> None:
    plan = read_plan(SIMULATION, URIS)
    assert plan == Plan(("erlang-base", "rabbitmq-server"), ("libc6",), 24_600_000)
    assert describe(plan, "rabbitmq-server") == (
        "for rabbitmq-server, apt-get installs 2 packages (erlang-base, rabbitmq-server) "
        "and upgrades 1 package (libc6); 25 MB to download"
    )
    assert describe(read_plan("", ""), "hello") == "for hello, apt-get changes nothing; 0.0 MB to download"


def _pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", [".ci/requirements.lock", ".ci/requirements-dev.lock"])
def test_a_lock_pins_each_package_with_hashes_and_says_its_size(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert re.match(r"# \d+ packages, \d+ MB to download\n", text)
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text


def test_serving_and_working_on_it_are_tested_with_the_same_versions() -> None:
    serving, everything = _pins(".ci/requirements.lock"), _pins(".ci/requirements-dev.lock")
    assert serving == {name: everything[name] for name in serving}
    assert not serving.keys() & {"mypy", "pytest", "ruff", "stripe"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = {_name(line) for line in (*project["dependencies"], *extras["embedded"], *extras["otel"])}
    assert needed <= serving.keys()
    assert {_name(line) for lines in extras.values() for line in lines} <= everything.keys()


def _name(requirement: str) -> str:
    return re.split(r"[<>=;\[ ]", requirement)[0].lower().replace("_", "-").replace(".", "-")


def test_dependencies_have_bounds_on_both_sides() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for lines in project["optional-dependencies"].values() for line in lines)]
    assert [line for line in lines if ">=" not in line or "<" not in line] == ["tzdata>=2025.1"]
