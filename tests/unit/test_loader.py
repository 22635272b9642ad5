"""The loader: a whole app as it is read, every problem word for word, and no text that makes it raise."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from penstock.definitions.compiled import CompiledApp
from penstock.definitions.models import App, FieldType, Respond, RetryPolicy, StepAction, WebhookTrigger
from penstock.reading.loader import Severity, load_app, load_files

ROOTS = "in scope here: now, params, recurrence, run, secrets, user"
MEANT = "add `when:` to a step on the way, or `recursive: true` to a workflow if it is meant"
SHOP = Path(__file__).parent / "apps" / "shop"
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
    result = load_files({name: text.encode() for name, text in files.items()})
    assert (result.app is None) == any(problem.severity is Severity.ERROR for problem in result.problems)
    return [str(problem).removeprefix("workflows/w.yaml:") for problem in result.problems]


def step_problems(step: str) -> list[str]:
    """The problems of one step, which follows a step `thing` that creates an order; lines count from the step's own
    first.
    """
    head = "workflow: w\nparameters: {n: {type: number, optional: true}, owner: {type: user, optional: true}}\nsteps:\n"
    found = problems(f"{head}- {{id: thing, create: order}}\n- {step}\n")
    return [f"{int(line) - 4}:{rest}" for line, _, rest in (problem.partition(":") for problem in found)]


def load_shop() -> App:
    result = load_app(SHOP)
    assert [str(problem) for problem in result.problems] == [
        "workflows/orders.yaml:51: recursion, under a condition: create_thing → create_thing"
    ]
    assert result.app is not None
    return result.app


def test_an_app_with_everything_is_read() -> None:
    app = load_shop()

    assert (app.name, app.admins) == ("shop", ("ops@example.com",))
    assert app.environments["development"].chain_runs_limit == 1_000_000
    assert app.environments["live"].depth_limit == 20
    assert set(app.types) == {"order", "order_line", "user"}
    assert [field.name for field in app.types["user"].fields] == ["email", "name"]
    order = app.types["order"]
    assert (order.is_in_api, order.unique) == (True, (("number",), ("customer", "placed")))
    assert (order.fields[1].name, order.fields[1].column) == ("Total price", "total_price")
    assert order.fields[5].type == FieldType("order_line", is_list=True)
    assert order.privacy[0].when == {"Created By": "${user._id}"}
    assert (order.privacy[0].view, order.privacy[1].name, order.privacy[1].view) == (
        "all",
        "everyone",
        ("number", "paid"),
    )


def test_sources_of_an_app_are_read() -> None:
    sources = load_shop().sources

    assert (sources["stripe"].scheme, sources["stripe"].secrets) == ("stripe", ("${secrets.STRIPE_WEBHOOK_SECRET}",))
    partner = sources["partner"]
    assert (partner.algorithm, partner.encoding, partner.header, partner.prefix) == (
        "sha512",
        "base64",
        "X-Signature",
        "sha512=",
    )
    assert partner.timestamp is not None
    assert (partner.timestamp.header, partner.timestamp.tolerance_seconds) == ("X-Timestamp", 600)
    assert partner.deduplicate is not None
    assert partner.type is not None
    assert (partner.deduplicate.header, partner.type.payload) == ("X-Event-Id", "event.name")


def test_the_head_of_a_workflow_is_read() -> None:
    app = load_shop()
    workflow = app.workflows["create_thing"]

    assert workflow.api is not None
    assert (workflow.api.respond, workflow.api.when_skipped) == (Respond.ON_RETURN, 200)
    assert workflow.retries == RetryPolicy(attempts=3, backoff_seconds=5, factor=3, max_seconds=600, jitter=0.1)
    assert (workflow.timeout_seconds, workflow.depth_limit, workflow.priority, workflow.ignore_privacy) == (
        120,
        500,
        2,
        True,
    )
    assert [parameter.default for parameter in workflow.parameters] == [None, 0, None, None, None]
    assert app.workflows["ship"].webhooks == (
        WebhookTrigger(source="stripe", types=("invoice.paid", "customer.*")),
        WebhookTrigger(source="partner"),
    )
    assert app.workflows["ship"].is_recursive


def test_steps_are_kept_as_written_but_for_what_can_be_told() -> None:
    steps = {step.id: step for step in load_shop().workflows["create_thing"].steps}

    assert steps["thing"].target == "order"
    assert steps["thing"].arguments["upsert"] == ["number"]
    assert steps["thing"].arguments["set"] == {
        "number": "${params.name}",
        "Total price": 1.5,
        "tags": ["a", "${params.name}"],
        "customer": "${params.owner}",
    }
    assert (steps["step4"].action, steps["step4"].arguments) == (StepAction.GET, {"id": "${steps.thing._id}"})
    assert steps["step6"].arguments["type"] == "order"
    assert steps["step7"].arguments["type"] == "user"
    assert steps["step9"].on_error == "continue"
    assert steps["next"].arguments["key"] == "${steps.thing._id}"
    assert steps["step11"].arguments["key"] == "ship-${run.id}"
    assert (steps["answer"].retry, steps["answer"].timeout_seconds) == (RetryPolicy(attempts=2), 10)
    assert steps["step20"].place == "workflows/orders.yaml:90"


def test_an_app_survives_the_way_through_json() -> None:
    app = load_shop()

    assert App.model_validate_json(app.model_dump_json()) == app


def test_a_compiled_workflow_is_compiled_once() -> None:
    compiled = CompiledApp(load_shop())
    workflow = compiled.workflow("create_thing")
    scope: dict[str, JsonValue] = {"params": {"name": "a", "remaining": 2}, "steps": {"thing": {"_id": "1x1"}}}

    assert compiled.workflow("create_thing") is workflow
    assert workflow.when is not None
    assert workflow.when.holds({"params": {"name": "a"}, "request": {"method": "POST"}})
    following = next(step for step in workflow.steps if step.definition.id == "next")
    assert following.when is not None
    assert following.when.holds(scope)
    assert (following.target.is_constant, following.target.evaluate(scope)) == (True, "create_thing")
    assert following.arguments.evaluate(scope) == {
        "with": {"name": "a", "remaining": 1},
        "after": "0s",
        "priority": 3,
        "key": "1x1",
    }
    with pytest.raises(KeyError):
        compiled.workflow("unknown")


def test_with_of_a_list_waits_for_its_items() -> None:
    steps = CompiledApp(load_shop()).workflow("create_thing").steps
    many = next(step for step in steps if step.definition.id == "many")

    assert many.arguments.evaluate({}) == {
        "over": {"find": "order", "where": {"paid": True}, "sort": "placed"},
        "interval": "1s",
        "sequential": True,
    }
    assert many.per_item is not None
    assert many.per_item.evaluate({"item": {"_id": "1x1"}, "index": 3}) == {"order": "1x1", "position": 3}
    assert steps[0].per_item is None


@pytest.mark.parametrize(
    ("app", "problem"),
    [
        ("", "app.yaml:1: the file is empty; it names the app, as in `app: shop`"),
        ("- a", "app.yaml:1: app.yaml is written as keys and values, not as a list"),
        ("admins: []", "app.yaml:1: app.yaml needs 'app'; such as app: shop"),
        ("app: my shop", "app.yaml:1: 'my shop' is not a name; use at most 63 of the characters A-Z a-z 0-9 _ -"),
        ("app: 1", "app.yaml:1: 'app': expected text, got a number; put it in quotes"),
        ("app: a\nadmin: [x]", "app.yaml:2: unknown key 'admin'; did you mean 'admins'?"),
        ("app: a\nadmins: ['ops@@x.org']", "app.yaml:2: 'ops@@x.org' is not a mail address, such as ada@example.com"),
        (
            "app: a\n---\napp: b",
            "app.yaml:3: app.yaml holds one document, and this is another; put everything into the first",
        ),
        ("app: a\npython: [a]", "app.yaml:2: Python modules need a directory that they are imported from"),
        ("app: a\noidc: {}", "app.yaml:2: key 'oidc' is not available in this version"),
        ("app: a\nenvironments: {life: {}}", "app.yaml:2: unknown key 'life'; did you mean 'live'?"),
        (
            "app: a\nenvironments: {live: {depth_limit: -1}}",
            "app.yaml:2: 'depth_limit': expected a whole number from 0 to 1000000, got '-1'",
        ),
        (
            "app: a\nenvironments: {live: {depth_limit: 1.5}}",
            "app.yaml:2: 'depth_limit': expected a whole number from 0 to 1000000, got '1.5'",
        ),
        (
            "app: a\nsources: {s: {secrets: ['${secrets.A}']}}",
            "app.yaml:2: the source 's' needs 'scheme'; such as scheme: stripe",
        ),
        (
            "app: a\nsources: {s: {scheme: slack, secrets: ['${secrets.A}']}}",
            "app.yaml:2: unknown scheme 'slack'; known are github, hmac, stripe",
        ),
        (
            "app: a\nsources: {s: {scheme: stripe}}",
            "app.yaml:2: the source 's' needs 'secrets'; such as secrets: [\"${secrets.PARTNER_KEY}\"]",
        ),
        ("app: a\nsources: {s: {scheme: stripe, secrets: []}}", "app.yaml:2: the source 's' needs at least one secret"),
        (
            "app: a\nsources: {s: {scheme: stripe, secrets: ['${secret.A}']}}",
            "app.yaml:2:44: `secret.A`: unknown name 'secret'; did you mean 'secrets'?",
        ),
        (
            "app: a\nsources: {s: {scheme: stripe, secrets: [whsec]}}",
            "app.yaml:2: a secret stands in the file; write ${secrets.NAME} and set PENSTOCK_SECRET_<NAME>",
        ),
        (
            "app: a\nsources: {s: {scheme: stripe, secrets: ['${secrets.A}'], header: X}}",
            "app.yaml:2: unknown key 'header'; known are deduplicate, scheme, secrets, type",
        ),
        (
            "app: a\nsources: {s: {scheme: hmac, secrets: ['${secrets.A}']}}",
            "app.yaml:2: the source 's' needs 'header'; such as header: X-Signature",
        ),
        (
            "app: a\nsources: {s: {scheme: hmac, secrets: ['${secrets.A}'], header: 'X Y'}}",
            "app.yaml:2: 'X Y' is not the name of a header; such as X-Signature",
        ),
        (
            "app: a\nsources: {s: {scheme: hmac, secrets: ['${secrets.A}'], header: X, signed: '{bodi}{body}'}}",
            "app.yaml:2: unknown part of 'signed' 'bodi'; did you mean 'body'?",
        ),
        (
            "app: a\nsources: {s: {scheme: hmac, secrets: ['${secrets.A}'], header: X, signed: '{path}'}}",
            "app.yaml:2: 'signed' needs {body}; or anybody could change the body of a signed request",
        ),
        (
            "app: a\nsources: {s: {scheme: hmac, secrets: ['${secrets.A}'], header: X, signed: '{timestamp}{body}'}}",
            "app.yaml:2: 'signed' uses {timestamp}, so the source 's' needs timestamp",
        ),
        (
            (
                "app: a\nsources: {s: {scheme: hmac, secrets: ['${secrets.A}'], header: X, timestamp: {header: T, "
                "tolerance: 5}}}"
            ),
            (
                "app.yaml:2: 'tolerance': '5' is not a duration; write a number and a unit, such as 500ms, 5s, 10m, 2h "
                "or "
                "3d"
            ),
        ),
        (
            "app: a\nsources: {s: {scheme: stripe, secrets: ['${secrets.A}'], type: {header: X, payload: y}}}",
            "app.yaml:2: 'type' needs either header or payload; such as {payload: data.id}",
        ),
    ],
)
def test_problems_of_app_yaml(app: str, problem: str) -> None:
    assert problems(app=app) == [problem]


@pytest.mark.parametrize(
    ("types", "problem"),
    [
        ("fields: {}", "1: a data type needs 'type'; such as type: order"),
        ("type: text", "1: 'text' is a built-in type; choose another name"),
        (
            "type: Order",
            "1: 'Order' cannot name a data type; use at most 63 of the characters a-z 0-9 _, a letter first",
        ),
        (
            "type: order\n---\ntype: order",
            "3: the data type 'order' exists twice; it stands in types/order.yaml:1 already",
        ),
        ("type: order\nfield: {}", "2: unknown key 'field'; did you mean 'fields'?"),
        ("type: order\nfields: [a]", "2: 'fields' is written as keys and values, not as a list"),
        ("type: order\nfields: {a: txt}", "2: unknown type 'txt'; did you mean 'text'?"),
        ("type: order\nfields: {a: string}", "2: unknown type 'string'; did you mean 'text'?"),
        ("type: order\nfields: {a: list of ordr}", "2: unknown type 'ordr'; did you mean 'order'?"),
        (
            "type: order\nfields: {a: list of list of text}",
            "2: a list cannot hold lists; make a data type for the inner ones, or use any",
        ),
        (
            "type: order\nfields: {a: any}",
            "2: 'any' is a type for parameters only; a field needs a type of its own, such as text",
        ),
        (
            "type: order\nfields: {a: {type: text}}",
            "2: expected a type, got a mapping; such as text, number, or list of text",
        ),
        ("type: order\nfields: {slug: text}", "2: the field 'slug' is built in (Slug); choose another name"),
        (
            "type: order\nfields: {Created date: date}",
            "2: the field 'Created date' is built in (Created Date); choose another name",
        ),
        ("type: order\nfields: {xmin: text}", "2: PostgreSQL keeps the column 'xmin' for itself; choose another name"),
        (
            "type: order\nfields: {'a ': text}",
            "2: the name 'a ' has spaces around it, or characters that cannot be seen; choose another name",
        ),
        (
            "type: order\nfields: {" + ", ".join(f"f{n}: text" for n in range(1001)) + "}",
            "2: a data type may have 1000 fields, this one has 1001",
        ),
        (
            "type: order\nprivacy: [{name: a, when: [b]}]",
            "2: 'when' of a privacy rule is a mapping of fields to values, not a list",
        ),
        (
            "type: order\nfields: {A b: text, a_b: text}",
            "2: the fields 'A b' and 'a_b' share the column 'a_b'; rename one",
        ),
        (
            f"type: order\nfields: {{{'a' * 64}: text}}",
            f"2: the name {'a' * 60 + '…'!r} is longer than 63 bytes; shorten it",
        ),
        ("type: order\nunique: [numbr]\nfields: {number: text}", "2: unknown field 'numbr'; did you mean 'number'?"),
        ("type: order\nunique: [t]\nfields: {t: list of text}", "2: 't' is a list of text, which cannot be unique"),
        ("type: order\nunique: number", "2: 'unique' is a list of fields, or of lists of fields, not text"),
        (
            "type: user\nfields: {email: number}",
            "2: the field 'email' of user is built in as text; write email: text, or leave it out",
        ),
        ("type: order\nprivacy: [{find: true}]", "2: a privacy rule needs 'name'; such as name: owner"),
        (
            "type: order\nprivacy: [{name: a}]",
            (
                "2: a privacy rule needs 'when'; such as when: {created_by: \"${user._id}\"}; a rule for all is "
                "written "
                "everyone: {…}"
            ),
        ),
        ("type: order\nprivacy: [{everyone: {fnd: true}}]", "2: unknown key 'fnd'; did you mean 'find'?"),
        ("type: order\nprivacy: [{everyone: {find: 1}}]", "2: 'find': expected true or false, got '1'"),
        ("type: order\nprivacy: [{everyone: {view: [a]}}]", "2: unknown field 'a'"),
        (
            "type: order\nprivacy: [{name: a, when: {owner: 1}}]",
            "2: unknown field 'owner'; known are Created By, Created Date, Modified Date, Slug, _id",
        ),
        (
            "type: order\nprivacy: [{name: a, when: {slug: '${params.x}'}}]",
            "2:37: `params.x`: unknown name 'params'; in scope here: now, user; there are no parameters here",
        ),
    ],
)
def test_problems_of_data_types(types: str, problem: str) -> None:
    assert problems(types=types) == [f"types/order.yaml:{problem}"]


@pytest.mark.parametrize(
    ("workflow", "problem"),
    [
        ("steps: []", "1: a workflow needs 'workflow'; such as workflow: create_thing"),
        ("workflow: a b", "1: 'a b' is not a name; use at most 200 of the characters A-Z a-z 0-9 _ -"),
        ("workflow: other", "1: the workflow 'other' exists twice; it stands in workflows/other.yaml:1 already"),
        ("workflow: w\nstep: []", "2: unknown key 'step'; did you mean 'steps'?"),
        ("workflow: w\nconcurrency: {limit: 1}", "2: key 'concurrency' is not available in this version"),
        ("workflow: w\nrate: {limit: 1}", "2: key 'rate' is not available in this version"),
        ("workflow: w\ndebounce: {quiet: 1s}", "2: key 'debounce' is not available in this version"),
        (
            "workflow: w\non:\n  recurrence: {cron: x}",
            (
                "3: 'cron': 'x' is no cron expression: write minute, hour, day of month, month and day of week, as in "
                "0 3 "
                "* * 1-5"
            ),
        ),
        (
            "workflow: w\non:\n  recurrence:\n    cron: 61 * * * *",
            "4: 'cron': '61 * * * *' is no cron expression: Bad minute; write it as in 0 3 * * 1-5",
        ),
        (
            "workflow: w\non: {recurrence: {timezone: UTC}}",
            "2: the recurrence trigger needs 'cron'; such as cron: \"0 3 * * 1-5\"",
        ),
        (
            "workflow: w\non:\n  recurrence:\n    cron: 0 3 * * *\n    timezone: Europe/Pariss",
            "5: unknown time zone 'Europe/Pariss'; did you mean 'Europe/Paris'?",
        ),
        (
            "workflow: w\non: {recurrence: {cron: 0 3 * * *, overlap: skp}}",
            "2: unknown overlap 'skp'; did you mean 'skip'?",
        ),
        (
            "workflow: w\non: {recurrence: {cron: 0 3 * * *, jitter: 5}}",
            "2: 'jitter': '5' is not a duration; write a number and a unit, such as 500ms, 5s, 10m, 2h or 3d",
        ),
        (
            "workflow: w\nparameters: {a: text}\non: {recurrence: {cron: 0 3 * * *}}",
            (
                "2: a workflow with a recurrence trigger cannot require parameters (a); make them optional: a tick "
                "gives "
                "none"
            ),
        ),
        ("workflow: w\non: {change: {type: ordr}}", "2: unknown data type 'ordr'; did you mean 'order'?"),
        ("workflow: w\non: {change: {operations: create}}", "2: the change trigger needs 'type'; such as type: order"),
        (
            "workflow: w\non: {change: {type: order, operations: [made]}}",
            "2: unknown operation 'made'; known are create, delete, update",
        ),
        (
            "workflow: w\non: {change: {type: order, when: after.payd}}",
            "2:34: `after.payd`: unknown member of after 'payd'; did you mean 'paid'?",
        ),
        (
            "workflow: w\non: {change: {type: order, when: change.after.paid}}",
            (
                "2:34: `change.after.paid`: unknown name 'change'; in scope here: after, before; "
                "change is known only in workflows with a change trigger"
            ),
        ),
        (
            "workflow: w\nparameters: {a: text}\non: {change: {type: order}}",
            (
                "2: a workflow with a change trigger cannot require parameters (a); make them optional; "
                "what was changed is in change.before and change.after"
            ),
        ),
        (
            "workflow: w\nwhen: change.before == null",
            (
                f"2:7: `change.before == null`: unknown name 'change'; {ROOTS}; change is known only in workflows with "
                "a "
                "change trigger"
            ),
        ),
        ("workflow: w\non: {apy: {}}", "2: unknown trigger 'apy'; did you mean 'api'?"),
        ("workflow: w\non: [{api: {}}, {api: {}}]", "2: a workflow has one api trigger; remove this one"),
        ("workflow: w\non: {api: {method: PUT}}", "2: unknown method 'PUT'; known are GET, POST"),
        ("workflow: w\non: {api: {auth: admins}}", "2: unknown auth 'admins'; did you mean 'admin'?"),
        ("workflow: w\non: {api: {respond: now}}", "2: unknown respond 'now'; known are at_once, on_return, when_done"),
        ("workflow: w\non: {api: {when_skipped: 204}}", "2: unknown when_skipped '204'; did you mean '200'?"),
        ("workflow: w\non: {webhook: {types: [a]}}", "2: the webhook trigger needs 'source'; such as source: stripe"),
        ("workflow: w\non: {webhook: {source: strip}}", "2: unknown source 'strip'; did you mean 'stripe'?"),
        (
            "workflow: w\non: {webhook: {source: stripe}}\nparameters: {a: text, b: {type: text, optional: true}}",
            (
                "3: a workflow with a webhook trigger cannot require parameters (a); make them optional; what was sent "
                "is "
                "in webhook.payload"
            ),
        ),
        ("workflow: w\nparameters: {a: txt}", "2: unknown type 'txt'; did you mean 'text'?"),
        ("workflow: w\nparameters: {a: {optional: true}}", "2: the parameter 'a' needs 'type'; such as type: text"),
        (
            "workflow: w\nparameters: {a: {type: text, optionl: true}}",
            "2: unknown key 'optionl'; did you mean 'optional'?",
        ),
        (
            "workflow: w\nparameters: {a: {type: text, default: b}}",
            "2: the parameter 'a' has a default, so it is optional; add optional: true",
        ),
        (
            "workflow: w\nparameters: {a: {type: number, optional: true, default: x}}",
            "2: the default of 'a': expected a number, got text",
        ),
        (
            "workflow: w\nparameters: {a: {type: text, optional: true, default: '${now}'}}",
            "2: a default is a constant; work it out in the steps: ${params.name ?? …}",
        ),
        ("workflow: w\nwhen: params.x > 1", "2:7: `params.x > 1`: unknown parameter 'x'"),
        ("workflow: w\nwhen: ${params.x}", "2: 'when' takes a bare expression; write params.x without ${ }"),
        ("workflow: w\nwhen: [a]", "2: 'when': expected an expression, got a list"),
        ("workflow: w\nwhen: run.deph > 1", "2:7: `run.deph > 1`: unknown member of run 'deph'; did you mean 'depth'?"),
        (
            "workflow: w\nwhen: webhook.type == 'a'",
            (
                f"2:7: `webhook.type == 'a'`: unknown name 'webhook'; {ROOTS}; webhook is known only in workflows with "
                "a "
                "webhook trigger"
            ),
        ),
        (
            "workflow: w\nwhen: >\n  true and\n  usr.x",
            "4:3: `true and usr.x`: unknown name 'usr'; did you mean 'user'?",
        ),
        (
            "workflow: w\nwhen: |\n  true\n    or usr.x",
            "4:8: `true or usr.x`: unknown name 'usr'; did you mean 'user'?",
        ),
        ("workflow: w\nwhen: true\n   or usr.x", "3:7: `true or usr.x`: unknown name 'usr'; did you mean 'user'?"),
        ('workflow: w\nwhen: "true\\n or usr.x"', "2:7: `true or usr.x`: unknown name 'usr'; did you mean 'user'?"),
        (
            "workflow: w\ntimeout: 5",
            "2: 'timeout': '5' is not a duration; write a number and a unit, such as 500ms, 5s, 10m, 2h or 3d",
        ),
        ("workflow: w\ntimeout: 0s", "2: 'timeout': expected a duration above 0, got '0s'"),
        ("workflow: w\nretries: 0", "2: 'retries': expected a whole number from 1 to 1000, got '0'"),
        ("workflow: w\nretries: {attempts: 3, jitter: 2}", "2: 'jitter': expected a number from 0 to 1, got '2'"),
        (
            "workflow: w\nretries: {tries: 3}",
            "2: unknown key 'tries'; known are attempts, backoff, factor, jitter, max",
        ),
        ("workflow: w\ndepth_limit: many", "2: 'depth_limit': expected a whole number from 0 to 1000000, got 'many'"),
        ("workflow: w\npriority: 10", "2: 'priority': expected a whole number from 0 to 9, got '10'"),
        ("workflow: w\nrecursive: yes", "2: 'recursive': expected true or false, got 'yes'"),
        ("workflow: w\nlabel: [a]", "2: 'label': expected text, got a list"),
        ("workflow: w\nsteps: {create: order}", "2: 'steps' is a list of steps, not a mapping"),
        ("workflow: w\nsteps: [create]", "2: a step is written as keys and values, not as text"),
    ],
)
def test_problems_of_the_head_of_a_workflow(workflow: str, problem: str) -> None:
    assert problems(workflow)[0] == problem


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("{emial: a}", "1: unknown action 'emial'; did you mean 'email'?"),
        (
            "{wait: soon}",
            "1: 'wait': 'soon' is not a duration; write a number and a unit, such as 500ms, 5s, 10m, 2h or 3d",
        ),
        ("{wait: }", "1: 'wait' needs a duration; such as 3d"),
        ("{wait: 3d, timeout: 1h}", "1: 'wait' takes no 'timeout'; the run waits for as long as it says there"),
        ("{wait_until: tomorrow}", "1: 'wait_until': expected a time with its zone, such as 2026-01-31T09:00:00Z"),
        ("{wait_for: }", "1: 'wait_for' needs the name of a signal; such as payment_confirmed"),
        ("{wait_for: ''}", "1: 'wait_for' needs the name of a signal; such as payment_confirmed"),
        ("{wait_for: paid, match: order}", "1: 'match': expected a mapping, got text"),
        ("{cancel: }", "1: 'cancel' needs the id of a run, or a list of them; such as \"${steps.reminder}\""),
        ("{cancel: '${params.nope}'}", "1:15: `params.nope`: unknown parameter 'nope'"),
        (
            "{run: a.b}",
            (
                "1: unknown Python action 'a.b'; name its module in app.yaml under python:, and decorate the function "
                "with "
                "@app.action"
            ),
        ),
        ("{when: 'true'}", "1: this step has no action; it needs one of "),
        ("{}", "1: this step is empty; it needs one of "),
        (
            "{create: order, log: x}",
            "1: a step does one thing, and this one names create and log; make two steps of it",
        ),
        ("{id: thing, log: x}", "1: two steps have the id 'thing'; ids are unique in a workflow"),
        (
            "{id: a-b, log: x}",
            "1: 'a-b' cannot be the id of a step; use letters, digits and _, so that steps.<id> works in expressions",
        ),
        ("{log: x, whn: a}", "1: unknown key 'whn'; did you mean 'when'?"),
        ("{log: x, on_error: ignore}", "1: unknown on_error 'ignore'; known are continue, fail"),
        ("{log: x, retry: {attempts: 0}}", "1: 'attempts': expected a whole number from 1 to 1000, got '0'"),
        ("{log: x, when: steps.later == 1}", "1:18: `steps.later == 1`: unknown step 'later'; known are thing"),
        ("{log: '${steps.thin._id}'}", "1:12: `steps.thin._id`: unknown step 'thin'; did you mean 'thing'?"),
        ("{id: me, log: '${steps.me}'}", "1:20: `steps.me`: the step 'me' does not come before this one"),
        (
            "{log: '${item}'}",
            (
                "1:12: `item`: unknown name 'item'; in scope here: now, params, recurrence, run, secrets, state, "
                "steps, "
                "user; item is known"
            ),
        ),
        ("{log: 'é ${1 + }'}", "1:17: `1 +`: it ends too early"),
        ("{log: 'x ${params.n'}", "1:12: ${ is opened and not closed with } (write $${ for a literal ${)"),
        ("{log: [a]}", "1: 'log': expected text, got a list"),
        ("{log: }", "1: 'log' needs a text"),
        ("{create: ordr}", "1: unknown data type 'ordr'; did you mean 'order'?"),
        ("{create: '${params.n}'}", "1: the name of a data type cannot be computed; such as order"),
        ("{delete: , type: order}", "1: 'delete' needs a thing or its id; such as \"${steps.thing}\""),
        ("{update: 1x1, set: {total: 1}}", "1: the data type of this thing cannot be told; add type: to the step"),
        ("{http: }", "1: 'http' needs a URL; such as https://example.com"),
        (
            "{recur: other, every: daily, with: {n: 1}, cron: 0 3 * * *}",
            "1: cron and every exclude each other; keep one of them",
        ),
        ("{recur: other, with: {n: 1}}", "1: 'recur' needs cron or every"),
        ("{recur: other, every: daily}", "1: 'with' lacks 'n', which the workflow 'other' requires"),
        ("{recur: other, every: dayly, with: {n: 1}}", "1: unknown every 'dayly'; did you mean 'daily'?"),
        ("{recur: other, cron: 0 25 * * *, with: {n: 1}}", "1: 'cron': '0 25 * * *' is no cron expression: Bad hour"),
        ("{recur: other, every: daily, start: tomorrow, with: {n: 1}}", "1: 'start': expected a time with its zone"),
        (
            "{recur: other, every: daily, timezone: Europe/Pari, with: {n: 1}}",
            "1: unknown time zone 'Europe/Pari'; did you mean 'Europe/Paris'?",
        ),
        ("{recur: othr, every: daily}", "1: unknown workflow 'othr'; did you mean 'other'?"),
        ("{stop_recurring: othr}", "1: unknown workflow 'othr'; did you mean 'other'?"),
        ("{stop_recurring: other, with: {n: 1}}", "1: unknown key 'with'"),
        ("{state: }", "1: 'state' needs a mapping; such as {total: 1}"),
        ("{schedule: '${params.n}'}", "1: the name of a workflow cannot be computed; such as create_thing"),
        ("{schedule: }", "1: 'schedule' needs the name of a workflow; such as create_thing"),
        ("{create: }", "1: 'create' needs the name of a data type; such as order"),
        ("{create: order, set: {totl: 1}}", "1: unknown field of 'order' 'totl'; did you mean 'total'?"),
        ("{create: order, set: {total: '1'}}", "1: 'total': expected a number, got text"),
        ("{create: order, set: {Created Date: '2020-01-01'}}", "1: 'Created Date' is built in and cannot be set"),
        ("{create: order, set: {total: 1, Total: 2}}", "1: the field 'total' is given twice"),
        ("{create: order, set: [total]}", "1: 'set' is a mapping of fields to values, not a list"),
        ("{create: order, upsert: [total]}", "1: an upsert needs fields that are unique in 'order'; unique are number"),
        (
            "{update: steps.thing, set: {total: 1}}",
            "1: 'update' needs a thing or its id; did you mean \"${steps.thing}\"?",
        ),
        (
            "{update: '${params.n}', set: {total: 1}}",
            "1: the data type of this thing cannot be told; add type: to the step",
        ),
        ("{update: '${params.n}', type: ordr, set: {total: 1}}", "1: unknown data type 'ordr'; did you mean 'order'?"),
        ("{update: '${steps.thing}'}", "1: 'update' needs set or add or remove"),
        ("{update: '${steps.thing}', add: {total: 1}}", "1: 'total' is no list; write it under set:"),
        ("{update: '${params.owner}', set: {nme: a}}", "1: unknown field of 'user' 'nme'; known are email"),
        ("{delete: 17}", "1: 'delete' needs a thing or its id; did you mean \"${17}\"?"),
        ("{get: order}", "1: 'get' needs where or id"),
        ("{create_many: order, set: {total: 1}}", "1: 'create_many' needs from"),
        ("{create_many: order, from: '${params.n}'}", "1: 'create_many' needs set"),
        (
            "{create_many: order, from: params.n, set: {total: 1}}",
            "1: 'from' needs a list, not text; did you mean \"${params.n}\"?",
        ),
        ("{create_many: order, from: '${item}', set: {total: 1}}", "1:33: `item`: unknown name 'item'"),
        (
            "{create_many: order, from: [1], set: {total: '${itm}'}}",
            "1:51: `itm`: unknown name 'itm'; did you mean 'item'?",
        ),
        (
            "{create_many: order, from: [1], set: {totl: '${item}'}}",
            "1: unknown field of 'order' 'totl'; did you mean 'total'?",
        ),
        ("{update_many: order, set: {total: 1}}", "1: 'update_many' needs where"),
        ("{update_many: order, where: {}}", "1: 'update_many' needs set"),
        ("{update_many: order, where: {}, set: {total: x}}", "1: 'total': expected a number, got text"),
        ("{update_many: order, where: {}, set: {total: '${item}'}}", "1:51: `item`: unknown name 'item'"),
        ("{delete_many: order}", "1: 'delete_many' needs where"),
        ("{delete_many: order, where: {totl: 1}}", "1: unknown field of 'order' 'totl'; did you mean 'total'?"),
        ("{export: order, format: xlsx}", "1: unknown format 'xlsx'; known are csv, jsonl"),
        ("{export: order, where: {totl: 1}}", "1: unknown field of 'order' 'totl'; did you mean 'total'?"),
        ("{import: order}", "1: 'import' needs from"),
        (
            "{import: order, from: '${params.n}', upsert: [total]}",
            "1: an upsert needs fields that are unique in 'order'; unique are number",
        ),
        ("{count: ordr}", "1: unknown data type 'ordr'; did you mean 'order'?"),
        ("{aggregate: order, sum: totl}", "1: unknown field of 'order' 'totl'; did you mean 'total'?"),
        ("{aggregate: order, sum: [total, number]}", "1: `sum` needs a number, and number is a text"),
        ("{aggregate: order, by: tags}", "1: groups cannot be made by tags, which is a list of text"),
        ("{get: order, id: '17'}", "1: 'id': expected the id of a thing, such as 1700000000000x123456789012345678"),
        ("{get: order, id: '${params.n}', where: {total: 1}}", "1: where and id exclude each other; keep one of them"),
        (
            "{find: order, where: total}",
            "1: 'where' is a mapping of fields to values, or a list of {key, constraint_type, value}, not text",
        ),
        ("{find: order, where: {totl: 1}}", "1: unknown field of 'order' 'totl'; did you mean 'total'?"),
        ("{find: order, where: {total: x}}", "1: 'total': expected a number, got text"),
        (
            "{find: order, where: [{key: total}]}",
            "1: a constraint needs 'constraint_type'; such as constraint_type: greater than",
        ),
        (
            "{find: order, where: [{key: total, constraint_type: greater, value: 1}]}",
            "1: unknown constraint_type 'greater'; did you mean 'greater than'?",
        ),
        ("{find: order, where: [{key: total, constraint_type: equals}]}", "1: the constraint 'equals' needs a value"),
        (
            "{find: order, where: [{key: paid, constraint_type: greater than, value: true}]}",
            (
                "1: 'greater than' does not fit 'paid', which is a boolean; fitting are equals, in, is_empty, "
                "is_not_empty, not equal, not in"
            ),
        ),
        (
            "{find: order, where: [{key: total, constraint_type: in, value: 3}]}",
            "1: 'total': expected a list, got number",
        ),
        (
            "{find: order, where: [{key: total, constraint_type: geographic_search, value: 3}]}",
            "1: constraint_type 'geographic_search' is not available in this version",
        ),
        ("{find: order, sort: totl}", "1: unknown field of 'order' 'totl'; did you mean 'total'?"),
        ("{find: order, limit: 0}", "1: 'limit': expected a whole number from 1 to 10000, got '0'"),
        ("{find: order, descending: down}", "1: 'descending': expected true or false, got 'down'"),
        ("{schedule: othr}", "1: unknown workflow 'othr'; did you mean 'other'?"),
        ("{schedule: other}", "1: 'with' lacks 'n', which the workflow 'other' requires"),
        ("{schedule: other, with: {n: 1, m: 2}}", "1: unknown parameter 'm'; known are n, t"),
        ("{schedule: other, with: {n: x}}", "1: 'n': expected a number, got text"),
        ("{schedule: other, with: [1]}", "1: 'with' is a mapping of parameters to values, not a list"),
        (
            "{schedule: other, with: {n: 1}, after: 5}",
            "1: 'after': '5' is not a duration; write a number and a unit, such as",
        ),
        (
            "{schedule: other, with: {n: 1}, after: 5s, at: '${now}'}",
            "1: at and after exclude each other; keep one of them",
        ),
        (
            "{schedule: other, with: {n: 1}, at: 2030-01-01}",
            "1: 'at': expected a time with its zone, such as 2026-01-31T09:00:00Z, got '2030-",
        ),
        ("{schedule: other, with: {n: 1}, key: my key}", "1:40: `my key`: unknown name 'my'"),
        (
            "{schedule: other, with: {n: 1}, priority: 10}",
            "1: 'priority': expected a whole number from 0 to 9, got '10'",
        ),
        ("{schedule_list: other, with: {n: '${item}'}}", "1: 'schedule_list' needs over"),
        (
            "{schedule_list: other, with: {n: 1}, over: params.n}",
            "1: 'over' needs a list, or {find: TYPE, where, sort}, not text; did you mean",
        ),
        ("{schedule_list: other, with: {n: 1}, over: {where: {}}}", "1: 'over' needs 'find'; such as find: order"),
        (
            "{schedule_list: other, with: {n: 1}, over: {find: ordr}}",
            "1: unknown data type 'ordr'; did you mean 'order'?",
        ),
        (
            "{schedule_list: other, with: {n: 1}, over: {find: order, sort: a}}",
            "1: unknown field of 'order' 'a'; known are",
        ),
        ("{schedule_list: other, with: {n: 1}, over: '${item}'}", "1:49: `item`: unknown name 'item'"),
        ("{trigger: other, with: {n: 1}, after: 5s}", "1: unknown key 'after'"),
        ("{http: example.com}", "1: 'example.com' is not a URL; it starts with https:// or http://"),
        ("{http: https://a.b, method: FETCH}", "1: unknown method 'FETCH'"),
        ("{http: https://a.b, json: {}, body: x}", "1: json and body exclude each other; keep one of them"),
        ("{http: https://a.b, headers: [a]}", "1: 'headers': expected a mapping, got a list"),
        ("{http: https://a.b, errors: ignore}", "1: unknown errors 'ignore'"),
        ("{http: https://a.b, timeout: 0s}", "1: 'timeout': expected a duration above 0, got '0s'"),
        ("{return: done}", "1: 'return': expected a mapping, got text"),
        ("{return: , text: a, redirect: /x}", "1: text and redirect exclude each other; keep one of them"),
        ("{return: {a: 1}, txt: a}", "1: unknown key 'txt'; did you mean 'text'?"),
        ("{state: x}", "1: 'state': expected a mapping, got text"),
        ("{fail: }", "1: 'fail' needs a text"),
        (
            "{send: example.com, payload: 1, secret: '${secrets.S}'}",
            "1: 'example.com' is not a URL; it starts with https:// or http://",
        ),
        ("{send: https://a.b, secret: '${secrets.S}'}", "1: 'send' needs payload"),
        ("{send: https://a.b, payload: 1}", "1: 'send' needs secret"),
        ("{send: https://a.b, payload: 1, secret: whsec_x}", "1: a secret stands in the file; write ${secrets.NAME}"),
        ("{send: https://a.b, payload: 1, secret: 5}", "1: 'secret': expected text, got a number; put it in quotes"),
        ("{publish: , body: 1}", "1: 'publish' needs a routing key; such as order.paid"),
        ("{publish: order.paid}", "1: 'publish' needs body"),
        ("{publish: order paid, body: 1}", "1: 'order paid' cannot be a routing key: it has to be words of A-Z"),
        (
            "{publish: run.done, body: 1}",
            "1: 'run.done' cannot be a routing key: keys that begin with run are those of Penstock's own",
        ),
    ],
)
def test_problems_of_steps(step: str, problem: str) -> None:
    found = step_problems(step)

    assert found[0].startswith(problem), found[0]
    assert len(found) == 1, found


def test_all_problems_are_told_at_once_in_the_order_of_the_files() -> None:
    found = problems(
        "workflow: w\nlabl: x\nsteps:\n- {emial: a}\n- {create: ordr, set: {a: '${b}'}}\n",
        types="type: order\nfields: {a: txt}",
        app="app: s\nadmns: []",
    )

    assert found == [
        "app.yaml:2: unknown key 'admns'; did you mean 'admins'?",
        "types/order.yaml:2: unknown type 'txt'; did you mean 'text'?",
        "2: unknown key 'labl'; did you mean 'label'?",
        "4: unknown action 'emial'; did you mean 'email'?",
        "5: unknown data type 'ordr'; did you mean 'order'?",
        "5:30: `b`: unknown name 'b'; in scope here: now, params, recurrence, run, secrets, state, steps, user",
    ]


def test_endless_recursion_is_an_error_with_its_path() -> None:
    assert problems("workflow: w\nsteps: [{schedule: v}]\n---\nworkflow: v\nsteps:\n- {trigger: w}") == [
        f"2: endless recursion: w → v → w; nothing on this way has a condition; {MEANT}"
    ]


def test_a_file_that_cannot_be_read_hides_no_names_from_others() -> None:
    found = problems(
        "workflow: w\nsteps: [{schedule: elsewhere}, {create: elsewhere, set: {a: 1}}]\n---\n[", app="app: shop"
    )

    assert found == ["4:2: this is not YAML: expected the node content, but found '<stream end>'"]


def test_a_directory_without_an_app_says_so(tmp_path: Path) -> None:
    (problem,) = load_app(tmp_path).problems
    (nowhere,) = load_app(tmp_path / "nowhere").problems

    assert str(problem) == f"app.yaml: there is no app.yaml in {tmp_path}; it names the app, as in `app: shop`"
    assert str(nowhere) == f"app.yaml: there is no directory {tmp_path / 'nowhere'}; name the one that holds app.yaml"


def test_files_in_deeper_folders_are_warned_of_and_hidden_ones_ignored(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text("app: shop")
    for folder in ("types/..2026_01_01", "workflows/deep"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.yaml").write_text("type: a")
    os.symlink(tmp_path / "types/..2026_01_01/a.yaml", tmp_path / "types/a.yml")

    result = load_app(tmp_path)

    assert [str(problem) for problem in result.problems] == [
        "workflows/deep/a.yaml: files in deeper folders are not read; move it into workflows/"
    ]
    assert result.app is not None
    assert set(result.app.types) == {"a", "user"}


FRAGMENTS = (
    "workflow: w\n|steps:\n|- |  |create: order\n|set: {total: 1}|where: |when: |${|}|params.n|steps.a|\n|[|]|{|}|on: "
    "|api: |with: |~|3|"
    "schedule: w\n|over: |id: |parameters: |x: |type: |retries: |: |'|\"|&a |*a|!!str |---\n|find: order|5s|key: "
    "|sources: |privacy: "
)
words = st.sampled_from(FRAGMENTS.split("|"))


@settings(max_examples=300, deadline=None)
@given(st.lists(words, max_size=25).map("".join), st.lists(words, max_size=15).map("".join), st.text(max_size=20))
def test_no_text_makes_the_loader_raise(first: str, second: str, third: str) -> None:
    result = load_files(
        {
            "app.yaml": f"app: shop\n{second}".encode(),
            "types/order.yaml": f"type: order\nfields: {{total: number}}\n{second}".encode(),
            "workflows/a.yaml": first.encode(),
            "workflows/b.yaml": f"workflow: w\nsteps:\n- {second}".encode(),
            "workflows/c.yaml": third.encode(errors="replace"),
        }
    )

    assert all(str(problem) for problem in result.problems)
    assert result.app is None or App.model_validate_json(result.app.model_dump_json()) == result.app
