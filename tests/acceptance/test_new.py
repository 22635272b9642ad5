"""`penstock new`, as a person meets it: an app that passes its own tests, by a plain `pytest` in its directory."""

import asyncio
import sys
from pathlib import Path

import pytest

from penstock.cli.scaffolding import list_sources
from tests.acceptance.console import Outcome, clean_environment, penstock
from tests.servers import Servers


async def _new(directory: Path, *arguments: str) -> Outcome:
    return await penstock("new", *arguments, environment=clean_environment(), directory=directory)


async def _pytest(directory: Path, servers: Servers, *arguments: str) -> Outcome:
    """Run the app's own tests as its author would, where a warning is an error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *arguments,
        cwd=directory,
        env=clean_environment(PENSTOCK_TEST_DATABASE_URL=servers.database_url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(100):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Outcome(process.returncode, out.decode(), err.decode())


@pytest.mark.parametrize("template", list_sources("template"))
async def test_an_app_from_a_template_is_sound_and_passes_its_own_tests(
    template: str, tmp_path: Path, servers: Servers
) -> None:
    made = await _new(tmp_path, "corner shop", "--template", template)
    assert made.code == 0, made
    assert "  cd 'corner shop'\n  penstock check .\n  pytest" in made.out
    checked = await penstock("check", "corner shop", environment=clean_environment(), directory=tmp_path)
    assert (checked.code, "warning" in checked.out) == (0, False), checked
    tested = await _pytest(tmp_path / "corner shop", servers)
    assert (tested.code, " passed" in tested.out) == (0, True), tested


@pytest.mark.parametrize("example", ["payments", "python"])
async def test_a_copy_of_an_example_passes_its_own_tests(example: str, tmp_path: Path, servers: Servers) -> None:
    made = await _new(tmp_path, "--example", example)
    assert made.code == 0, made
    tested = await _pytest(tmp_path / example, servers)
    assert (tested.code, " passed" in tested.out) == (0, True), tested


async def test_the_tests_of_every_example_are_found_in_its_copy(tmp_path: Path, servers: Servers) -> None:
    for example in list_sources("example"):
        assert (await _new(tmp_path, "--example", example)).code == 0
        found = await _pytest(tmp_path / example, servers, "--collect-only")
        assert found.code == 0, found


async def test_unknown_names_give_the_list(tmp_path: Path) -> None:
    template = await _new(tmp_path, "shop", "--template", "webhok")
    assert template.code == 2
    assert "there is no template 'webhok' (did you mean webhook?); there are list, python, webhook" in _flat(
        template.err
    )
    example = await _new(tmp_path, "--example", "none")
    assert example.code == 2
    assert "there are campaign, enrichment, imports, maintenance, payments, python, quickstart" in _flat(example.err)
    assert list(tmp_path.iterdir()) == []


async def test_what_cannot_be_meant_is_a_usage_error(tmp_path: Path) -> None:
    both = await _new(tmp_path, "shop", "--template", "list", "--example", "payments")
    assert (both.code, "not from both" in _flat(both.err)) == (2, True)
    nothing = await _new(tmp_path)
    assert (nothing.code, "name the directory to make" in _flat(nothing.err)) == (2, True)
    assert list(tmp_path.iterdir()) == []


async def test_a_directory_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    assert (await _new(tmp_path, "shop")).code == 0
    again = await _new(tmp_path, "shop")
    assert (again.code, again.err) == (
        1, "penstock: shop is not empty, and nothing of it is overwritten; name a new directory\n"
    )  # fmt: skip


async def test_the_directory_that_one_is_in_is_filled(tmp_path: Path) -> None:
    made = await _new(tmp_path, ".", "--json")
    assert made.json["directory"] == str(tmp_path)
    assert made.json["template"] == "webhook"
    assert (tmp_path / "workflows" / "orders.yaml").is_file()


def _flat(text: str) -> str:
    """What a person reads in a box that rich has drawn."""
    return " ".join(text.replace("│", " ").split())
