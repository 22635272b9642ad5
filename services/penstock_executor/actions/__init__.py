"""The kinds of step, one file each: its spec, what it does, and the effects that it writes.

What a step asks for becomes an effect, a call, or a value; committing is left to others. What all kinds share is in
`penstock_executor.steps`.
"""

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final

from penstock.definitions.models import StepAction
from penstock_executor.steps.specs import StepSpec


def _read_specs() -> Mapping[StepAction, StepSpec]:
    modules = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    specs: list[StepSpec] = [module.SPEC for module in modules]
    return MappingProxyType({spec.action: spec for spec in specs})


SPECS: Final = _read_specs()
"""By kind of step."""
