"""What `penstock new` makes: sound apps, whole or not at all, where nothing else is."""

import re
from pathlib import Path

import pytest

from penstock.cli.scaffolding import Source, list_sources, make_app, name_of_app
from penstock.errors import ConfigurationError
from penstock.reading.loader import load_app

ROOT = Path(__file__).parents[2]
SOURCES = [*list_sources("template").values(), *list_sources("example").values()]
WEBHOOK = list_sources("template")["webhook"]


def test_there_are_three_templates_and_every_example() -> None:
    assert list(list_sources("template")) == ["list", "python", "webhook"]
    assert set(list_sources("example")) == {path.parent.name for path in (ROOT / "examples").glob("*/app.yaml")}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: f"{source.kind} {source.name}")
def test_an_app_is_sound_and_stands_alone(source: Source, tmp_path: Path) -> None:
    directory = tmp_path / "shop"
    files = make_app(source, directory)
    assert files == sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
    assert {".gitignore", "README.md", "app.yaml", "pytest.ini"} < set(files)
    assert any(name.startswith("tests/test_") for name in files)
    loaded = load_app(directory)
    assert loaded.app is not None
    assert [str(problem) for problem in loaded.problems] == []
    readme = (directory / "README.md").read_text()
    assert f"examples/{source.name}" not in readme
    assert [
        link for link in re.findall(r"\]\(([^)]*)\)", readme) if "://" not in link and not (directory / link).exists()
    ] == []


@pytest.mark.parametrize("source", list_sources("template").values(), ids=lambda source: source.name)
def test_an_app_from_a_template_has_the_name_of_its_directory(source: Source, tmp_path: Path) -> None:
    make_app(source, tmp_path / "corner shop")
    loaded = load_app(tmp_path / "corner shop")
    assert loaded.app is not None
    assert loaded.app.name == "corner_shop"
    assert (tmp_path / "corner shop" / "README.md").read_text().startswith("# corner_shop\n")


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("shop", "shop"),
        ("Café-2", "Caf_2"),
        ("123", "app_123"),
        ("1e5", "app_1e5"),
        ("true", "app_true"),
        ("…", "my_app"),
        ("x" * 200, "x" * 63),
    ],
)
def test_any_directory_gives_a_name_that_yaml_takes_for_a_text(directory: str, name: str, tmp_path: Path) -> None:
    assert name_of_app(tmp_path / directory) == name
    make_app(WEBHOOK, tmp_path / directory)
    loaded = load_app(tmp_path / directory)
    assert loaded.app is not None
    assert loaded.app.name == name


def test_a_directory_that_holds_anything_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("mine")
    with pytest.raises(ConfigurationError, match="is not empty, and nothing of it is overwritten"):
        make_app(WEBHOOK, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".hidden"]


def test_a_file_and_a_link_to_nowhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(ConfigurationError, match="is not a directory"):
            make_app(WEBHOOK, tmp_path / name)


def test_an_empty_directory_is_filled_and_stays_the_same_one(tmp_path: Path) -> None:
    before = tmp_path.stat().st_ino
    make_app(WEBHOOK, tmp_path)
    assert tmp_path.stat().st_ino == before
    assert {path.name for path in tmp_path.iterdir()} == {
        ".gitignore",
        "README.md",
        "app.yaml",
        "pytest.ini",
        "tests",
        "types",
        "workflows",
    }


@pytest.mark.parametrize("target", ["new", "new/in/new", "empty"])
def test_what_cannot_be_written_leaves_nothing_behind(target: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    source = tmp_path / "source"
    (source / "types").mkdir(parents=True)
    (source / "app.yaml").write_text("app: my_app\n")
    (source / "pytest.ini").mkdir()  # in the way of a file that every app gets
    (source / "pytest.ini" / "inside").touch()
    directory = tmp_path / target
    with pytest.raises(ConfigurationError, match="cannot write"):
        make_app(Source("template", "source", source), directory)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "source"]
    assert list((tmp_path / "empty").iterdir()) == []


def test_what_tools_leave_in_an_example_is_not_copied(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in (".penstock/admin-token", "__pycache__/a.pyc", "tests/__pycache__/b.pyc", ".env"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("secret")
    (source / "app.yaml").write_text("app: shop\n")
    assert make_app(Source("example", "source", source), tmp_path / "copy") == [".gitignore", "app.yaml", "pytest.ini"]
