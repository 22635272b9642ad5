"""What newcomers write who know other tools, and what `penstock check` says: files in, one message out, with its place.

A case has either the rest of a `workflow:` that begins with HEAD, the `code:` of a module that begins with IMPORTS, or
whole `files:`; null removes a file. The line counts from the first line of the file, `says` is everything that is said.
"""

from pathlib import Path

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from penstock.reading.loader import load_app

APP = "app: shop\nsources:\n  stripe: {scheme: stripe, secrets: ['${secrets.S}']}\n"
HEAD = """\
workflow: w
parameters: {n: number, name: text, xs: list of number, names: list of text, order: order, at: date, ok: boolean}
"""
IMPORTS = "from penstock import App, Context, api, recurrence, webhook\napp = App()\n"
SOUND = {
    "app.yaml": f"{APP}connectors: {{openai: {{base_url: https://api.openai.com/v1}}}}\n",
    "types/order.yaml": """\
type: order
fields: {number: text, total: number, paid: boolean, placed: date, tags: list of text, customer: user}
unique: [number]
""",
    "workflows/charge.yaml": """\
workflow: charge
parameters: {order: order, amount: number, note: {type: text, optional: true}}
steps: [{log: a}]
""",
}


class Case(BaseModel, extra="forbid"):
    """A mistake, and what is said of it."""

    mistake: str
    workflow: str | None = None
    code: str | None = None
    files: dict[str, str | None] = {}
    says: str

    def write(self, directory: Path) -> None:
        """The sound app with the mistake in it."""
        files: dict[str, str | None] = {**SOUND, **self.files}
        if self.workflow is not None:
            files["workflows/w.yaml"] = HEAD + self.workflow
        if self.code is not None:
            files |= {"app.yaml": f"{APP}python: [flows]\n", "flows.py": IMPORTS + self.code}
        for name, text in files.items():
            if text is not None:
                (directory / name).parent.mkdir(exist_ok=True)
                (directory / name).write_text(text)


def read_cases() -> list[Case]:
    """All cases, by file."""
    found = [YAML(typ="safe").load(path) for path in sorted(Path(__file__).parent.glob("*.yaml"))]
    return [Case.model_validate(case) for cases in found for case in cases]


CASES = read_cases()


def said(directory: Path) -> list[str]:
    """All that is said of an app: severity, file, line, column, message and hint."""
    told = []
    for problem in load_app(directory).problems:
        place = ":".join(str(part) for part in (problem.file, problem.line, problem.column) if part is not None)
        message = f"{problem.message}; {problem.hint}" if problem.hint else problem.message
        told.append(f"{problem.severity} {place}: {message}".replace(str(directory), "DIRECTORY"))
    return told


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.mistake)
def test_a_mistake_is_named_once_with_its_place_and_what_to_write(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path)
    assert said(tmp_path) == [case.says]


def test_what_the_mistakes_are_made_in_is_sound(tmp_path: Path) -> None:
    Case(mistake="none", workflow="steps: [{log: a}]\n", says="").write(tmp_path)
    assert said(tmp_path) == []


def test_there_are_enough_mistakes_of_each_severity() -> None:
    severities = [case.says.partition(" ")[0] for case in CASES]
    assert len(CASES) >= 67
    assert severities.count("warning") >= 30
    assert set(severities) == {"error", "warning"}
