"""What tests of the loader share: an app of a few files, and its problems."""

from pathlib import Path

from penstock.reading.loader import Severity, load_files

ROOTS = "in scope here: now, params, recurrence, run, secrets, user"
MEANT = "add `when:` to a step on that path, or `recursive: true` to a workflow if it is meant"
SHOP = Path(__file__).parents[1] / "apps" / "shop"
APP = "app: shop\nsources:\n  stripe: {scheme: stripe, secrets: ['${secrets.S}']}\n"
TYPES = """
type: order
fields: {number: text, total: number, paid: boolean, tags: list of text, customer: user}
unique: [number]
"""
OTHER = "workflow: other\nparameters: {n: number, t: {type: text, optional: true}}\n"


def problems(workflow: str = "", *, app: str = APP, types: str = TYPES) -> list[str]:
    """The problems of an app with this workflow file, without the name of that file."""
    files = {"app.yaml": app, "types/order.yaml": types, "workflows/other.yaml": OTHER, "workflows/w.yaml": workflow}
    result = load_files({name: text.encode() for name, text in files.items() if text or name == "app.yaml"})
    assert (result.app is None) == any(problem.severity is Severity.ERROR for problem in result.problems)
    return [str(problem).removeprefix("workflows/w.yaml:") for problem in result.problems]


def step_problems(step: str) -> list[str]:
    """The problems of one step, which follows a step `thing` that creates an order; lines count from the step's own
    first.
    """
    head = "workflow: w\nparameters: {n: {type: number, optional: true}, owner: {type: user, optional: true}}\nsteps:\n"
    found = problems(f"{head}- {{id: thing, create: order}}\n- {step}\n")
    return [f"{int(line) - 4}:{rest}" for line, _, rest in (problem.partition(":") for problem in found)]
