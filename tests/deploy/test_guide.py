"""docs/kubernetes.md: what it shows can be done with what is in deploy/."""

import re
from pathlib import Path

import pytest

from penstock.db.rights import SERVICES
from tests.deploy.documents import DEPLOY, ROOT, read_documents, run_tool
from tests.deploy.manifests import OVERLAYS

GUIDE = (ROOT / "docs" / "kubernetes.md").read_text()


def test_files_that_commands_name_exist() -> None:
    named = set(re.findall(r"(?<![\w/])deploy/[\w./-]*\w", GUIDE)) - {"deploy/.env"}
    assert len(named) > 4
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_overlay_of_ones_own_builds_with_the_image_that_it_names(tmp_path: Path) -> None:
    (shown,) = re.findall(r"^```yml\n(.+?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kustomization.yaml").write_text(shown)
    (tmp_path / "penstock").mkdir()
    (tmp_path / "penstock" / "deploy").symlink_to(DEPLOY)
    documents = read_documents(run_tool("kubectl", "kustomize", tmp_path / "mine"))
    images = {
        one["spec"]["template"]["spec"]["containers"][0]["image"]
        for one in documents
        if one["kind"] in {"Deployment", "Job"}
    }
    assert images == {"registry.example.com/penstock:0.1.0"}
    assert {one["metadata"]["namespace"] for one in documents} == {"penstock"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_overlay_is_explained(name: str) -> None:
    assert f"| `{name}` |" in GUIDE


def test_the_roles_are_those_that_are_made() -> None:
    assert set(re.findall(r"`penstock_(\w+)`", GUIDE)) - {"runs_ready", "runs_running"} == {*SERVICES, "partitions"}
