"""What the Data API shows to whom."""

import pytest

from penstock.definitions.models import PrivacyRule
from penstock.things.privacy import Visibility, visibility
from tests.factories import build_type

ORDER = build_type("order", {"number": "text", "total": "number"})
OWNER = PrivacyRule(name="owner", when={"created_by": "${user._id}"}, find=True, view="all")
EVERYTHING = Visibility(True, None)


@pytest.mark.parametrize(
    ("rules", "seen"),
    [
        ((), EVERYTHING),
        ((OWNER,), Visibility(False, frozenset())),
        ((OWNER, PrivacyRule(name="everyone")), Visibility(False, frozenset())),
        ((OWNER, PrivacyRule(name="everyone", find=True, view=("number",))), Visibility(True, frozenset({"number"}))),
        ((PrivacyRule(name="everyone", view="all"), OWNER), Visibility(False, None)),
    ],
)
def test_the_rule_for_everyone_decides_for_those_who_are_not_admins(
    rules: tuple[PrivacyRule, ...], seen: Visibility
) -> None:
    data_type = ORDER.model_copy(update={"privacy": rules})
    assert visibility(data_type, is_admin=False) == seen
    assert visibility(data_type, is_admin=True) == EVERYTHING
