"""`deploy/env.example` lists every setting there is, with its default and a sentence, and none that there is not."""

import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from penstock.embedded.settings import ServerSettings
from penstock.settings import KEY_VARIABLE, SECRET_PREFIX

EXAMPLE = Path(__file__).parents[2] / "deploy" / "env.example"
PACKAGES = ("penstock", "penstock_ingress", "penstock_scheduler", "penstock_executor")
PREFIX = "PENSTOCK_"
_LINE = re.compile(r"^(?P<comment># )?(?P<name>PENSTOCK_[A-Z_]+)=(?P<value>.*)$")


def _settings_classes() -> set[type[BaseSettings]]:
    """Every class of settings in the product: those in modules named `settings`, found without a list that could be
    forgotten.
    """
    for package in PACKAGES:
        for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
            if module.name.rpartition(".")[2] == "settings":
                import_module(module.name)
    return set(_subclasses(BaseSettings))


def _subclasses(kind: type[BaseSettings]) -> Iterator[type[BaseSettings]]:
    for subclass in kind.__subclasses__():
        if subclass.__module__.partition(".")[0] in PACKAGES:
            yield subclass
        yield from _subclasses(subclass)


def _fields() -> dict[str, FieldInfo]:
    # ServerSettings holds settings that are described by others, some with other defaults.
    return {
        f"{PREFIX}{name.upper()}": field
        for settings in _settings_classes() - {ServerSettings}
        for name, field in settings.model_fields.items()
    }


def _listed() -> dict[str, tuple[str, bool, str]]:
    """By name: value, whether it is commented out, and the line before."""
    lines = EXAMPLE.read_text().splitlines()
    found = {}
    for before, line in zip(["", *lines], lines, strict=False):
        match = _LINE.match(line)
        if match and (match["name"] == KEY_VARIABLE or not match["name"].startswith(SECRET_PREFIX)):
            assert match["name"] not in found, f"{match['name']} is listed twice"
            found[match["name"]] = match["value"], match["comment"] is not None, before
    return found


def test_every_setting_is_listed_and_every_listed_one_exists() -> None:
    assert set(_listed()) == set(_fields())
    known = {f"{PREFIX}{name.upper()}" for name in ServerSettings.model_fields}
    assert known <= set(_listed())


@pytest.mark.parametrize("name", sorted(_fields()))
def test_a_setting_is_listed_with_its_default_and_a_sentence(name: str) -> None:
    field = _fields()[name]
    assert field.description, f"{name} needs a description"
    value, is_commented_out, before = _listed()[name]
    assert before.startswith("# ")
    assert before.endswith((".", "…")), f"{name}: {before!r} is not a sentence"
    assert is_commented_out == (not field.is_required())
    if not field.is_required():
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        expected = "" if default is None else str(default)
        assert value in {expected, expected.removesuffix(".0")}, name
