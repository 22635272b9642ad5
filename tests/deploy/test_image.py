"""The image: what goes into it, who it runs as, and that the linter has nothing to say."""

import fnmatch
import json
import re
import shlex
import subprocess
import sys
from importlib.metadata import distributions

from penstock.cli.program import build_program
from tests.deploy.documents import DEPLOY, ROOT, instructions, known_variables, run_tool

DOCKERFILE = DEPLOY / "Dockerfile"


def test_the_linter_accepts_the_dockerfile() -> None:
    run_tool("hadolint", "--failure-threshold", "style", DOCKERFILE)


def _last_stage() -> list[tuple[str, str]]:
    found = list(instructions(DOCKERFILE.read_text()))
    first = max(index for index, (word, _) in enumerate(found) if word == "FROM")
    return found[first:]


def test_the_image_runs_as_a_user_that_owns_nothing_in_it() -> None:
    last = dict(_last_stage())
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", last["USER"])
    assert "--chown" not in DOCKERFILE.read_text()
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(last["ENTRYPOINT"]) == ["penstock"]


def test_its_health_check_asks_a_probe_that_every_service_has() -> None:
    command = next(rest for word, rest in _last_stage() if word == "HEALTHCHECK").partition("CMD ")[2]
    program, option, code = json.loads(command)
    assert (program, option) == ("python3", "-c")
    compile(code, "HEALTHCHECK", "exec")
    assert "/healthz" in code
    assert "PENSTOCK_ADMIN_PORT" in known_variables("scheduler")


def test_every_setting_that_it_presets_exists() -> None:
    names = re.findall(r"PENSTOCK_[A-Z_]+(?==)", DOCKERFILE.read_text())
    assert len(names) > 2
    assert set(names) <= known_variables("ingress")


def test_what_it_copies_is_in_the_context_and_nothing_secret_is() -> None:
    rules = [
        line for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] not in {"", "#"}
    ]
    assert rules[0] == "*"
    let_in = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    copied = [
        source
        for word, rest in instructions(DOCKERFILE.read_text())
        if word == "COPY" and "--from" not in rest
        for source in shlex.split(rest)[:-1]
    ]
    assert sorted(copied) == sorted(let_in)
    assert all((ROOT / source).exists() for source in copied)
    assert not any(fnmatch.fnmatch(".env", rule) or rule.startswith((".git", "deploy/.env")) for rule in let_in)


def test_every_package_is_installed_by_its_hash() -> None:
    installs = re.findall(r"pip install ([^&\\]+)", DOCKERFILE.read_text())
    assert len(installs) == 3
    for options in installs:
        assert "--require-hashes" in options or "--no-index" in options, options


def test_the_bill_of_materials_names_every_package_once() -> None:
    made = subprocess.run((sys.executable, DEPLOY / "sbom.py"), capture_output=True, text=True, check=True)
    document = json.loads(made.stdout)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    of_python = [one for one in document["components"] if one["purl"].startswith("pkg:pypi/")]
    names = [component["name"] for component in of_python]
    assert len(names) == len(set(names)) == len({one.metadata["Name"].lower() for one in distributions()})
    assert all(re.fullmatch(r"pkg:pypi/[a-z0-9-]+@\S+", one["purl"]) for one in of_python)
    vendored = {one["name"]: one["purl"] for one in document["components"] if one not in of_python}
    assert {"preact", "htm", "uplot", "@dagrejs/dagre"} <= vendored.keys(), "the console's module is made of them"
    assert vendored["@dagrejs/dagre"].startswith("pkg:npm/%40dagrejs/dagre@")
    assert len({one["bom-ref"] for one in document["components"]}) == len(document["components"])


def test_the_commands_that_deployments_start_exist() -> None:
    commands = {command.name or str(command.callback) for command in build_program().registered_commands}
    assert {"ingress", "scheduler", "executor", "migrate", "provision"} <= commands
