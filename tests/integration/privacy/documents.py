"""A type with rules of every kind, things of it, and what the rules say about them in plain Python."""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from penstock.definitions.models import DataType, PrivacyRule, RuleCondition
from penstock.things.records import NewThing, Thing
from tests.factories import build_type

LIVE = "live"
PARIS: JsonValue = {"lat": 48.85, "lng": 2.35}
BERLIN: JsonValue = {"lat": 52.52, "lng": 13.4}
FIJI: JsonValue = {"lat": -17.7, "lng": 179.9}
ADA, BOB, EVE = (f"1700000000000x20000000000000000{number}" for number in range(3))
FIELDS = {
    "title": "text",
    "size": "number",
    "team": "text",
    "owner": "user",
    "members": "list of user",
    "spot": "geographic address",
}
NAMES = (*FIELDS, "Created Date", "Modified Date", "Created By")
DOCUMENT = build_type("document", FIELDS, unique=(("team", "title"),)).model_copy(
    update={"indexes": (("spot",),), "words": ("title",)}
)
USERS: Mapping[str, Thing] = {
    ADA: {"_id": ADA, "email": "ada@example.com", "team": "red", "level": 2},
    BOB: {"_id": BOB, "email": "bob@example.com", "team": "blue", "level": 1},
    EVE: {"_id": EVE, "email": "eve@example.com", "level": 1},
}
_VALUES: Sequence[tuple[dict[str, JsonValue], str | None]] = (
    ({"title": "plan", "size": 3, "team": "red", "owner": ADA, "members": [ADA, BOB], "spot": PARIS}, ADA),
    ({"title": "plan", "size": 1, "team": "blue", "owner": BOB, "spot": BERLIN}, BOB),
    ({"title": "note", "size": 2, "owner": EVE, "members": [EVE], "spot": FIJI}, None),
    ({"title": "list", "team": "red", "members": [BOB]}, ADA),
    ({"size": 2}, None),
    ({"title": "draft", "size": 5, "team": "blue", "owner": ADA}, BOB),
)
DOCUMENTS: Sequence[NewThing] = tuple(
    NewThing(f"1700000000000x30000000000000000{number}", values, by) for number, (values, by) in enumerate(_VALUES)
)


def with_rules(*rules: PrivacyRule) -> DataType:
    """The type with these rules."""
    return DOCUMENT.model_copy(update={"privacy": rules})


def rule(name: str, /, **grants: JsonValue) -> PrivacyRule:
    """One of the kinds of rules, by name, with what it grants; each field of `when` in one of the two forms."""
    conditions: dict[str, dict[str, object]] = {
        "creator": {"when": {"Created By": "${user._id}"}},
        "owner": {"when": (RuleCondition(key="owner", constraint_type="equals", value="${user._id}"),)},
        "member": {"when": (RuleCondition(key="members", constraint_type="contains", value="${user._id}"),)},
        "team": {"when": {"team": "${user.team}"}},
        "small": {"when": (RuleCondition(key="size", constraint_type="less than", value="${user.level + 1}"),)},
        "senior": {"users": "user.level > 1"},
        "signed in": {"users": "user != null"},
        "senior of team": {"when": {"team": "${user.team}"}, "users": "user.level > 1"},
        "everyone": {},
    }
    return PrivacyRule.model_validate({"name": name, **conditions[name], **grants})


def holds(name: str, thing: Thing, user: Thing | None) -> bool:
    """Whether the rule of that name holds for a thing and a user."""
    if user is None:
        return False
    of_team = user.get("team") is not None and thing.get("team") == user["team"]
    level, size, members = user["level"], thing.get("size"), thing.get("members")
    assert isinstance(level, int)
    return {
        "creator": thing.get("Created By") == user["_id"],
        "owner": thing.get("owner") == user["_id"],
        "member": isinstance(members, list) and user["_id"] in members,
        "team": of_team,
        "small": isinstance(size, int) and size < level + 1,
        "senior": level > 1,
        "signed in": True,
        "senior of team": of_team and level > 1,
    }[name]


def granting(rules: Sequence[PrivacyRule], thing: Thing, user: Thing | None) -> list[PrivacyRule]:
    """The rules that decide about a thing: those that hold; else the one for everyone."""
    holding = [one for one in rules if one.name != "everyone" and holds(one.name, thing, user)]
    return holding or [one for one in rules if one.name == "everyone"]


def seen(rules: Sequence[PrivacyRule], thing: Thing, user: Thing | None) -> Thing:
    """The thing as the user may see it."""
    views = [one.view for one in granting(rules, thing, user)]
    names = {"_id"}.union(*(view for view in views if view != "all"))
    return {name: value for name, value in thing.items() if "all" in views or name in names}
