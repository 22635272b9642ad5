"""What is derived from a definition once, such as the checks of a data type, and kept for as long as it lives."""

from collections.abc import Callable
from typing import TypeVar
from weakref import ref

Definition = TypeVar("Definition")
Derived = TypeVar("Derived")


def derived_once(derive: Callable[[Definition], Derived]) -> Callable[[Definition], Derived]:
    """`derive`, called once for each definition. `lru_cache` would hash a definition with all that is in it at each
    call, which costs more than what is derived saves.

    What is derived must not refer to its definition: neither would ever be freed.
    """
    known: dict[int, Derived] = {}
    watched: dict[int, ref[Definition]] = {}

    def find(definition: Definition) -> Derived:
        key = id(definition)
        if key in known:
            return known[key]

        def forget(_: object) -> None:  # called before another object can get the same id
            del known[key], watched[key]

        derived = known[key] = derive(definition)
        watched[key] = ref(definition, forget)
        return derived

    return find
