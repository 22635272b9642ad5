"""Kinds of step: each is declared once by the executor, read by one line of the reader's table, and has one method for
code.
"""

import inspect
import pkgutil

import pytest

from penstock.definitions.models import StepAction
from penstock.reading.actions import ACTIONS
from penstock.sdk.context import Context
from penstock_executor import actions
from penstock_executor.actions import SPECS

_ONLY_IN_YAML = frozenset({StepAction.RUN, StepAction.EACH, StepAction.PARALLEL})
"""Code calls its functions itself, and has loops of its own."""


def test_every_kind_of_step_is_declared_once_and_read() -> None:
    assert SPECS.keys() == ACTIONS.keys() == set(StepAction)


def test_the_room_of_actions_holds_one_file_per_kind_of_step_and_nothing_else() -> None:
    files = [module.name.removesuffix("_") for module in pkgutil.iter_modules(actions.__path__)]
    assert sorted(files) == sorted(StepAction)


@pytest.mark.parametrize("action", StepAction)
def test_reader_and_executor_agree_on_the_arguments_of_a_step(action: StepAction) -> None:
    assert set(SPECS[action].arguments) == ACTIONS[action].arguments.keys()


@pytest.mark.parametrize("action", StepAction)
def test_a_step_is_either_immediate_or_awaited(action: StepAction) -> None:
    spec = SPECS[action]
    assert (spec.immediate is None) != (spec.awaited is None)
    assert inspect.iscoroutinefunction(spec.awaited) == (spec.immediate is None)


@pytest.mark.parametrize("action", sorted(set(StepAction) - _ONLY_IN_YAML))
def test_code_has_a_method_for_each_kind_of_step(action: StepAction) -> None:
    assert callable(getattr(Context, action, None) or getattr(Context, f"{action}_", None))
