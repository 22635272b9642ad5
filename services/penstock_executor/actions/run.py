"""`run: module.function`: performs an action in Python, whose steps are steps of this run."""

from penstock_executor.actions.arguments import mapping, target_text
from penstock_executor.actions.steps import Call, Coded, Outcome


async def run(call: Call) -> Outcome:
    """The function and its arguments; calling it is left to whoever has the code."""
    return Coded(target_text(call, "the name of a Python action"), mapping(call, "with"))
