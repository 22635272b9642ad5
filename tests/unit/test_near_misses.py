"""One letter wrong in any name, and `check` knows which was meant: every kind of name, all in one go, each told
once.
"""

import pytest

from penstock.reading.loader import load_files

APP = """
app: shop
enviroments: {live: {depth_limit: 4}}
sources:
  stripe: {scheme: strpe, secrets: ["${secrets.A}"]}
  hook: {scheme: hmac, secrets: ["${secrts.A}"], header: X-S, algoritm: sha256, encoding: hexx}
connectors:
  openai: {base_url: "https://api.openai.com", headrs: {}}
email: {frm: "a@example.com", transport: sengrid}
"""
TYPES = """
type: order
fields: {number: text, total: number, customer: usr, tags: list of txt}
unique: [nmber]
privacy:
  - name: owner
    when: {created_bye: "${user._id}"}
    view: [totl]
---
type: line
apii: true
"""
WORKFLOWS = """
workflow: a
parametrs: {}
parameters: {name: text, other: {type: text, optionl: true}}
on:
  api: {method: PSOT, auth: admn, respond: when_don}
  webhook: {source: strip}
  recurence: {}
when: parms.name == 'x'
steps:
  - id: one
    create: ordr
  - create: order
    set: {nmber: 1}
  - find: order
    where: [{key: totl, constraint_type: greter than, value: 1}]
  - find: order
    sort: totl
  - schedule: bb
  - schedule: b
    with: {nme: "${params.nme}"}
  - call: opnai
  - call: openai
    methd: GET
  - emial: a@example.com
  - log: "${steps.on.x} ${run.dpth} ${uper('a')}"
  - http: https://example.com
    method: PST
  - log: a
    on_eror: continue
  - recur: b
    every: dayly
---
workflow: b
parameters: {name: {type: text, optional: true}}
retries: {attemps: 3}
"""
FOUND = {
    "environments", "stripe", "secrets", "algorithm", "hex", "headers", "from", "sendgrid", "user", "text", "number",
    "Created By", "total",
    "api", "parameters", "optional", "POST", "admin", "when_done", "recurrence", "params", "order", "greater than", "b",
    "name", "openai",
    "method", "email", "one", "depth", "upper", "on_error", "daily", "attempts",
}  # fmt: skip


@pytest.fixture(scope="module")
def problems() -> list[str]:
    files = {"app.yaml": APP, "types/all.yaml": TYPES, "workflows/all.yaml": WORKFLOWS}
    return [str(problem) for problem in load_files({name: text.encode() for name, text in files.items()}).problems]


@pytest.mark.parametrize("name", sorted(FOUND))
def test_a_near_miss_is_told_what_was_meant(problems: list[str], name: str) -> None:
    assert [problem for problem in problems if problem.endswith(f"did you mean {name!r}?")]


def test_all_are_told_at_once_with_their_lines_and_nothing_else_is(problems: list[str]) -> None:
    assert [problem for problem in problems if "did you mean" not in problem] == []
    assert all(problem.split(":")[1].isdecimal() for problem in problems)
    assert len(problems) == len(set(problems)) >= len(FOUND)


def test_a_field_whose_type_is_wrong_is_not_unknown_where_it_is_used() -> None:
    types = "type: order\nfields: {number: numbr, tags: list of txt}\nunique: [number]\n"
    workflows = """
workflow: use
steps:
  - id: made
    create: order
    set: {number: 1, tags: [a]}
  - update: "${steps.made}"
    add: {tags: b}
  - find: order
    where: [{key: number, constraint_type: greater than, value: 1}]
    sort: number
  - aggregate: order
    sum: number
"""
    files = {"app.yaml": "app: shop", "types/all.yaml": types, "workflows/all.yaml": workflows}
    loaded = load_files({name: text.encode() for name, text in files.items()})
    assert [str(problem) for problem in loaded.problems] == [
        "types/all.yaml:2: unknown type 'numbr'; did you mean 'number'?",
        "types/all.yaml:2: unknown type 'txt'; did you mean 'text'?",
    ]
