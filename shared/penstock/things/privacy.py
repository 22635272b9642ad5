"""What somebody who is not an admin may see through the Data API, by a type's privacy rules."""

from dataclasses import dataclass

from penstock.definitions.models import DataType


@dataclass(frozen=True, slots=True)
class Visibility:
    """Whether things can be found in searches, and which fields can be seen (None: all)."""

    may_find: bool
    fields: frozenset[str] | None


def visibility(data_type: DataType, *, is_admin: bool) -> Visibility:
    """An admin sees everything; so does everyone where a type has no rules, as in Bubble. Otherwise the rule for
    everyone decides: nobody is signed in here, so no other rule can apply.
    """
    if is_admin or not data_type.privacy:
        return Visibility(True, None)
    for rule in data_type.privacy:
        if rule.when is None:
            return Visibility(rule.find, None if rule.view == "all" else frozenset(rule.view))
    return Visibility(False, frozenset())
