"""What `penstock check` says of an author's Python: workflows of functions, and what is wrong, with file and line."""

import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from penstock import recurrence
from penstock.definitions.models import App, FieldType, Parameter
from penstock.domain.ticks import Overlap
from penstock.reading.loader import load_app
from tests.factories import build_field_type

HEAD = "app: shop\nsources: {stripe: {scheme: stripe, secrets: ['${secrets.KEY}']}}\npython: [shop]\n"
IMPORTS = "from penstock import App, Context, api, change, recurrence, webhook\napp = App()\n"


def write(directory: Path, code: str, *, head: str = HEAD, yaml: str = "") -> Path:
    """An app directory whose Python begins with IMPORTS, so that the code's first line is the third."""
    (directory / "workflows").mkdir(exist_ok=True)
    (directory / "app.yaml").write_text(head)
    (directory / "shop.py").write_text(IMPORTS + code)
    if yaml:
        (directory / "workflows" / "all.yaml").write_text(yaml)
    return directory


def load(directory: Path) -> App:
    """The app, which is sound."""
    result = load_app(directory)
    assert result.app is not None, [str(problem) for problem in result.problems]
    return result.app


def problems_of(directory: Path) -> list[str]:
    """What is wrong, as a person sees it."""
    result = load_app(directory)
    assert result.app is None
    return [str(problem) for problem in result.problems]


def test_a_function_becomes_a_workflow(tmp_path: Path) -> None:
    code = (
        "@app.workflow(on=[api(auth='public'), webhook('stripe', ['invoice.*'])], retries=3, timeout='90s', "
        "label='Pay', priority=2)\n"
        "async def pay(ctx: Context, name: str = '', remaining: int = 0) -> dict: ...\n"
        "@app.workflow(name='nightly-tidy', on=[recurrence('0 3 * * *', timezone='Europe/Paris')], recursive=True, "
        "depth_limit=50)\n"
        "def tidy(ctx: Context): ...\n"
    )
    app = load(write(tmp_path, code))
    pay, tidy = app.workflows["pay"], app.workflows["nightly-tidy"]
    assert app.python == ("shop",)
    assert (pay.python, pay.place, pay.label, pay.priority, pay.timeout_seconds) == (
        "shop:pay",
        "shop.py:3",
        "Pay",
        2,
        90,
    )
    assert pay.api is not None
    assert (pay.api.auth, pay.webhooks[0].types, pay.retries.attempts) == ("public", ("invoice.*",), 3)
    assert (tidy.python, tidy.recurrences[0].timezone, tidy.is_recursive, tidy.depth_limit) == (
        "shop:tidy",
        "Europe/Paris",
        True,
        50,
    )
    assert pay.parameters == (
        Parameter(name="name", type=FieldType("text"), is_optional=True, default=""),
        Parameter(name="remaining", type=FieldType("number"), is_optional=True, default=0),
    )


@pytest.mark.parametrize(
    ("annotation", "kind", "is_optional"),
    [
        ("str", "text", False),
        ("int", "number", False),
        ("float", "number", False),
        ("Decimal", "number", False),
        ("bool", "boolean", False),
        ("datetime", "date", False),
        ("list[str]", "list of text", False),
        ("list[datetime]", "list of date", False),
        ("tuple[int, ...]", "list of number", False),
        ("list[dict]", "any", False),
        ("list", "any", False),
        ("dict[str, Any]", "any", False),
        ("Any", "any", False),
        ("Literal['a', 'b']", "text", False),
        ("Annotated[int, Field(ge=0)]", "number", False),
        ("UserId", "text", False),
        ("Color", "text", False),
        ("str | None", "text", True),
        ("Optional[int]", "number", True),
        ("int | str", "any", False),
        ("Line", "any", False),
        ("date", "any", False),
    ],
)
def test_types_of_parameters(tmp_path: Path, annotation: str, kind: str, is_optional: bool) -> None:
    code = (
        "from datetime import date, datetime\nfrom decimal import Decimal\nfrom enum import StrEnum\n"
        "from typing import Annotated, Any, Literal, NewType, Optional\nfrom pydantic import BaseModel, Field\n"
        "UserId = NewType('UserId', str)\nclass Color(StrEnum):\n    RED = 'red'\nclass Line(BaseModel):\n    name: "
        "str\n"
        f"@app.workflow()\nasync def typed(ctx: Context, value: {annotation}, *, other: int = 1): ...\n"
    )
    [value, other] = load(write(tmp_path, code)).workflows["typed"].parameters
    assert (value.type, value.is_optional, other.name) == (build_field_type(kind), is_optional, "other")


def test_a_model_holds_all_parameters(tmp_path: Path) -> None:
    code = (
        "from datetime import datetime\nfrom pydantic import BaseModel, Field\n"
        "class Order(BaseModel):\n    number: str\n    lines: list[str] = []\n"
        "    placed: datetime | None = Field(default=None, alias='placedAt')\n"
        "@app.workflow()\nasync def order(ctx: Context, order: Order): ...\n"
    )
    parameters = load(write(tmp_path, code)).workflows["order"].parameters
    assert [(one.name, str(one.type), one.is_optional, one.default) for one in parameters] == [
        ("number", "text", False, None),
        ("lines", "list of text", True, []),
        ("placedAt", "date", True, None),
    ]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("def broken(:\n", "shop.py:3: SyntaxError: invalid syntax"),
        ("1 / 0\n", "shop.py:3: ZeroDivisionError: division by zero"),
        ("def f():\n    return 1 / 0\nx = f()\n", "shop.py:4: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(2)\n", "shop.py:4: SystemExit: 2"),
        ("import no_such_library\n", "shop.py:3: ModuleNotFoundError: No module named 'no_such_library'"),
        ("app = None\n", "shop.py:1: this module has no App; begin with `from penstock import App` and `app = App()`"),
        ("@app.workflow(timeout='soon')\ndef f(ctx): ...\n", "shop.py:3: ValueError: 'soon' is not a duration"),
        (
            "@app.workflow(on=[recurrence('every day')])\ndef f(ctx): ...\n",
            "shop.py:3: ValueError: 'every day' is not a cron expression",
        ),
        (
            "@app.workflow(on=[api(auth='everyone')])\ndef f(ctx): ...\n",
            "shop.py:3: ValueError: 'everyone' is not a valid Auth",
        ),
        ("@app.workflow(retries=0)\ndef f(ctx): ...\n", "shop.py:3: ValueError: retries are from 1 to 1000"),
        (
            "@app.workflow()\ndef f(): ...\n",
            "shop.py:3: f: its first parameter has to take the context, as in (ctx: Context)",
        ),
        (
            "@app.workflow()\ndef f(ctx, *rest): ...\n",
            "shop.py:3: f: its parameter '*rest' has no name by which a caller could pass it",
        ),
        ("@app.action\ndef f(ctx, x: object()): ...\n", "shop.py:3: f: its parameter 'x' is of type"),
        (
            "class Odd: ...\n@app.action\ndef f(ctx, x: Odd): ...\n",
            "shop.py:4: f: its parameter 'x' is of type Odd, which",
        ),
        (
            "@app.action\ndef f(ctx, x: 'Unknown'): ...\n",
            "shop.py:3: f: its annotations cannot be read: name 'Unknown' is not defined",
        ),
        (
            "@app.workflow()\ndef f(ctx, x: int = 'one'): ...\n",
            "shop.py:3: f: the default of its parameter 'x' does not fit its type",
        ),
        ("app.workflow()(lambda ctx: None)\n", "shop.py:3: TypeError: a workflow has to be a function of a module"),
        ("@app.workflow(name='no name')\ndef f(ctx): ...\n", "shop.py:3: 'no name' is not a name"),
        (
            "@app.workflow(on=[webhook('paypal')])\ndef f(ctx): ...\n",
            "shop.py:3: unknown source 'paypal'; known are stripe",
        ),
        ("@app.workflow(on=[change('ordr')])\ndef f(ctx): ...\n", "shop.py:3: unknown data type 'ordr'; known are "),
        (
            "@app.workflow(on=[change('user', ['made'])])\ndef f(ctx): ...\n",
            "shop.py:3: ValueError: 'made' is not a valid Operation",
        ),
        (
            "@app.workflow(on=[change('user', when='aftr.email')])\ndef f(ctx): ...\n",
            "shop.py:3: `when` of the change trigger, `aftr.email`: unknown name 'aftr'; did you mean 'after'?",
        ),
        ("@app.workflow(on=[api(), api()])\ndef f(ctx): ...\n", "shop.py:3: a workflow has one api trigger"),
        (
            "@app.workflow()\ndef f(ctx): ...\n@app.workflow(name='f')\ndef g(ctx): ...\n",
            "shop.py:5: the workflow 'f' exists twice; it stands in",
        ),
    ],
)
def test_problems_have_the_authors_file_and_line(tmp_path: Path, code: str, problem: str) -> None:
    assert any(told.startswith(problem) for told in problems_of(write(tmp_path, code))), problems_of(tmp_path)


@pytest.mark.parametrize(
    ("module", "problem"),
    [
        ("shop.missing", "app.yaml:3: there is no module 'shop.missing': neither shop/missing.py in "),
        ("nothing", "app.yaml:3: there is no module 'nothing': neither nothing.py in "),
        ("shop.py", "app.yaml:3: 'shop.py' is not the name of a module"),
        ("shop/actions.py", "app.yaml:3: 'shop/actions.py' is not the name of a module; did you mean 'shop.actions'?"),
        (
            "penstock.cli",
            "app.yaml:3: 'penstock' is the name of a module of Python or Penstock; rename yours",
        ),
    ],
)
def test_modules_that_are_not_there(tmp_path: Path, module: str, problem: str) -> None:
    write(tmp_path, "", head=HEAD.replace("[shop]", f"[{module}]"))
    assert any(told.startswith(problem) for told in problems_of(tmp_path)), problems_of(tmp_path)


CHARGE = (
    "@app.action\ndef charge(ctx: Context, order: str, amount: int = 1): ...\n@app.workflow()\ndef pay(ctx: "
    "Context, order: str): ...\n"
)


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ("{run: shop.charge}", "workflows/all.yaml:2: 'with' lacks 'order', which the action 'shop.charge' requires"),
        (
            "{run: shop.charge, with: {order: a, amuont: 2}}",
            "workflows/all.yaml:2: unknown parameter 'amuont'; did you mean 'amount'?",
        ),
        ("{run: shop.charge, with: {order: 1}}", "workflows/all.yaml:2: "),
        (
            "{run: shop.chrage, with: {order: a}}",
            "workflows/all.yaml:2: unknown Python action 'shop.chrage'; did you mean 'shop.charge'?",
        ),
        ("{run: shop.pay, with: {order: a}}", "workflows/all.yaml:2: unknown Python action 'shop.pay'"),
        ("{schedule: pay}", "workflows/all.yaml:2: 'with' lacks 'order', which the workflow 'pay' requires"),
    ],
)
def test_yaml_that_uses_python_is_checked_against_it(tmp_path: Path, steps: str, problem: str) -> None:
    write(tmp_path, CHARGE, yaml=f"workflow: outer\nsteps: [{steps}]\n")
    assert any(told.startswith(problem) for told in problems_of(tmp_path)), problems_of(tmp_path)


def test_a_name_in_yaml_and_python_is_a_problem(tmp_path: Path) -> None:
    write(tmp_path, CHARGE, yaml="workflow: pay\nsteps: [{log: x}]\n")
    assert problems_of(tmp_path) == [
        "workflows/all.yaml:1: the workflow 'pay' exists twice; it stands in shop.py:5 already"
    ]


def test_a_module_that_fails_is_one_problem(tmp_path: Path) -> None:
    write(
        tmp_path,
        "1 / 0\n" + CHARGE,
        yaml="workflow: outer\nsteps: [{run: shop.charge, with: {order: a}}, {schedule: pay}]\n",
    )
    assert problems_of(tmp_path) == ["shop.py:3: ZeroDivisionError: division by zero"]


def test_packages_and_their_neighbours_are_imported_and_nothing_is_written_beside_them(tmp_path: Path) -> None:
    write(tmp_path, "", head=HEAD.replace("[shop]", "[inner.flows, inner.more]"))
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "names.py").write_text("NAME = 'one'\n")
    (tmp_path / "inner" / "flows.py").write_text(
        "from penstock import App\nfrom inner.names import NAME\napp = App()\n@app.workflow(name=NAME)\ndef f(ctx): "
        "...\n"
    )
    (tmp_path / "inner" / "more.py").write_text("from inner.flows import app\n@app.action\ndef g(ctx): ...\n")
    assert load(tmp_path).workflows["one"].python == "inner.flows:f"
    (tmp_path / "inner" / "names.py").write_text("NAME = 'two'\n")
    assert set(load(tmp_path).workflows) == {"two"}
    assert not list(tmp_path.rglob("__pycache__"))


def test_two_apps_may_have_modules_of_the_same_name(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, f"@app.workflow()\ndef {name}(ctx): ...\n")
    assert set(load(tmp_path / "first").workflows) == {"first"}
    assert set(load(tmp_path / "second").workflows) == {"second"}
    assert set(load(tmp_path / "first").workflows) == {"first"}


def test_what_others_have_imported_from_the_directory_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "import neighbour_of_shop\n@app.workflow()\ndef f(ctx): ...\n")
    (tmp_path / "neighbour_of_shop.py").write_text("")
    (tmp_path / "a_test_beside_shop.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("a_test_beside_shop")
    load(tmp_path)
    first = sys.modules["neighbour_of_shop"]
    load(tmp_path)
    assert "a_test_beside_shop" in sys.modules
    assert sys.modules["neighbour_of_shop"] is not first
    del sys.modules["a_test_beside_shop"]


def test_a_module_cannot_take_the_name_of_one_of_pythons(tmp_path: Path) -> None:
    (tmp_path / "email").mkdir()
    write(tmp_path, "", head=HEAD.replace("[shop]", "[email.flows]"))
    assert problems_of(tmp_path)[0] == "app.yaml:3: 'email' is the name of a module of Python or Penstock; rename yours"
    assert "site-packages" not in str(sys.modules["email"].__file__)


def test_a_recursion_that_decreases_is_read_and_its_parameters_are_known(tmp_path: Path) -> None:
    code = "@app.workflow(recursive={{'decreases': '{}'}})\nasync def walk(ctx: Context, left: int) -> None: ...\n"
    walk = load(write(tmp_path, code.format("params.left"))).workflows["walk"]
    assert (walk.is_recursive, walk.decreases) == (True, "params.left")
    assert problems_of(write(tmp_path, code.format("params.right"))) == [
        "shop.py:3: `decreases`, `params.right`: there is no parameter 'right'"
    ]


CONDITION = (
    "@app.workflow({on}when={when!r}, ignore_privacy=True)\nasync def walk(ctx: Context, left: int = 0) -> None: ...\n"
)


@pytest.mark.parametrize(
    ("on", "when"), [("", "params.left > run.depth"), ("on=[webhook('stripe')], ", "webhook.payload.paid ?? false")]
)
def test_a_condition_is_that_of_a_workflow_in_yaml(tmp_path: Path, on: str, when: str) -> None:
    walk = load(write(tmp_path, CONDITION.format(on=on, when=when))).workflows["walk"]
    assert (walk.when, walk.ignore_privacy) == (when, True)


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ("params.right > 0", "there is no parameter 'right'"),
        ("webhook.payload.paid", "unknown name 'webhook'; in scope here: now, params, recurrence, run, secrets, user"),
        ("params.left >", "it ends too early"),
    ],
)
def test_a_condition_that_cannot_be_meant_is_reported_with_its_place(tmp_path: Path, when: str, problem: str) -> None:
    directory = write(tmp_path, CONDITION.format(on="", when=when))
    assert problems_of(directory) == [f"shop.py:3: `when`, `{when}`: {problem}"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"end": datetime(2030, 1, 1, tzinfo=UTC), "start": datetime(2030, 1, 2, tzinfo=UTC)}, "end is before start"),
        ({"start": datetime(2030, 1, 1, tzinfo=UTC).replace(tzinfo=None)}, "a time needs a zone"),
        ({"times": 0}, "times is from 1"),
        ({"pause_after_failures": 101}, "pause_after_failures is from 1 to 100"),
    ],
)
def test_a_recurrence_that_cannot_be_is_refused_where_it_is_written(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        recurrence("@daily", **given)


def test_a_recurrence_in_python_has_the_keys_of_one_in_yaml() -> None:
    start = datetime(2030, 1, 1, 9, tzinfo=timezone(timedelta(hours=1)))
    made = recurrence("*/10 * * * * *", start=start, times=3, overlap="cancel_other", pause_after_failures=5)
    assert (made.start, made.times, made.pause_after_failures) == (datetime(2030, 1, 1, 8, tzinfo=UTC), 3, 5)
    assert made.overlap is Overlap.CANCEL_OTHER
