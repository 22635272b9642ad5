"""How long an environment keeps what has ended: said in app.yaml, or by default, within bounds."""

import pytest

from penstock.domain.retention import DEFAULT_RETENTION, read_retention
from penstock.reading.loader import load_files


@pytest.mark.parametrize(("text", "shortest"), [("30d", "30d"), ("48h", "2d"), ("36h", "36h"), ("3650d", "3650d")])
def test_a_retention_is_kept_in_its_shortest_form(text: str, shortest: str) -> None:
    assert read_retention(text) == shortest


@pytest.mark.parametrize("text", ["23h", "3651d", "0d", "forever", "", "30", "30 days", "99999999999999999999d"])
def test_a_retention_out_of_bounds_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as .*3d|1d to 3650d|did you mean|100 years"):
        read_retention(text)


def test_the_defaults_are_retentions() -> None:
    assert {name: read_retention(text) for name, text in DEFAULT_RETENTION.items()} == DEFAULT_RETENTION


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("1h", "'1h' is not a retention; give 1d to 3650d, such as 30d"),
        ("30", "'30' is not a duration; write a number and a unit"),
        ("{days: 3}", "is not a duration"),
    ],
)
def test_app_yaml_says_where_a_retention_is_wrong(written: str, said: str) -> None:
    text = f"app: shop\nenvironments:\n  live: {{retention: {written}}}\n"
    (problem,) = load_files({"app.yaml": text.encode()}).problems
    assert str(problem).startswith("app.yaml:3")
    assert "'retention'" in str(problem)
    assert said in str(problem)


def test_app_yaml_sets_the_retention_of_each_environment() -> None:
    text = "app: shop\nenvironments:\n  development: {retention: 72h}\n"
    app = load_files({"app.yaml": text.encode()}).app
    assert app is not None
    assert app.environments["development"].retention == "3d"
    assert app.environments["live"].retention is None
