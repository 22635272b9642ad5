"""The example apps: each is sound, says what it shows, and is listed."""

from pathlib import Path

import pytest

from penstock.reading.loader import load_app

EXAMPLES = Path(__file__).parents[2] / "examples"
APPS = sorted(path.parent for path in EXAMPLES.glob("*/app.yaml"))


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_an_example_is_sound_and_listed(app: Path) -> None:
    assert [str(problem) for problem in load_app(app).problems] == []
    assert (app / "README.md").is_file()
    assert f"[{app.name}]({app.name})" in (EXAMPLES / "README.md").read_text()
