"""What is wrong with an app's files but for steps, word for word: app.yaml, data types, heads of workflows."""

import pytest

from tests.unit.loading.reading import ROOTS, problems


@pytest.mark.parametrize(
    ("app", "problem"),
    [
        ("", "app.yaml:1: the file is empty; it names the app, as in `app: shop`"),
        ("- a", "app.yaml:1: app.yaml is written as keys and values, not as a list"),
        ("admins: []", "app.yaml:1: app.yaml needs 'app'; such as app: shop"),
        ("app: my shop", "app.yaml:1: 'my shop' is not a name; use at most 63 of the characters A-Z a-z 0-9 _ -"),
        ("app: 1", "app.yaml:1: 'app': expected text, got a number; put it in quotes"),
        ("app: a\nadmin: [x]", "app.yaml:2: unknown key 'admin'; did you mean 'admins'?"),
        ("app: a\nnotifications: {hooks: []}", "app.yaml:2: unknown key 'hooks'; did you mean 'webhooks'?"),
        (
            "app: a\nnotifications:\n  webhooks: [{url: 'https://x.org', secret: whsec_clear}]",
            "app.yaml:3: give ${secrets.NAME}; `penstock secret set NAME` stores the secret",
        ),
        (
            "app: a\nnotifications: {webhooks: [{url: 'https://x.org'}]}",
            """app.yaml:2: a webhook needs 'secret'; such as webhooks: [{url: "https://ops.example.com/hook", \
secret: "${secrets.OPS_HOOK}"}]""",
        ),
        (
            "app: a\nnotifications: {slack: 'ftp://x.org'}",
            "app.yaml:2: give a URL such as https://ops.example.com/hook, or ${secrets.NAME} that holds one",
        ),
        (
            "app: a\nnotifications: {every: {terminations: 1h}}",
            "app.yaml:2: terminations: at most one notification a day; give 1d or more, or never",
        ),
        ("app: a\nnotifications: {every: {stop: 1h}}", "app.yaml:2: unknown key 'stop'; did you mean 'stops'?"),
        ("app: a\nadmins: ['ops@@x.org']", "app.yaml:2: 'ops@@x.org' is not a mail address, such as ada@example.com"),
        (
            "app: a\n---\napp: b",
            "app.yaml:3: app.yaml holds one document, and this is another; put everything into the first",
        ),
        ("app: a\npython: [a]", "app.yaml:2: Python modules need a directory that they are imported from"),
        (
            "app: a\noidc: {issuer: x.example.com, audience: a}",
            "app.yaml:2: 'issuer': 'x.example.com' is not a URL; such as https://login.example.com",
        ),
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
            "app: a\nsources: {s: {scheme: slac, secrets: ['${secrets.A}']}}",
            "app.yaml:2: unknown scheme 'slac'; did you mean 'slack'?",
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
            "app.yaml:2: the file contains a secret; write ${secrets.NAME} and set PENSTOCK_SECRET_<NAME>",
        ),
        (
            "app: a\nsources: {s: {scheme: stripe, secrets: ['${secrets.A}'], header: X}}",
            "app.yaml:2: unknown key 'header'; known are deduplicate, scheme, secrets, tolerance, type",
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
                "app: a\nsources: {s: {scheme: hmac, secrets: ['${secrets.A}'], header: X, "
                "signed: '{timestamp}{body}', timestamp: {header: T, "
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
        ("type: order\nfields: [a]", "2: 'fields' is written as keys and values, not as a list; such as number: text"),
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
            "2: expected a type, got a mapping; write the type alone: text",
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
            "type: order\nprivacy: [{name: a, when: []}]",
            (
                "2: 'when' of a privacy rule is a mapping of fields to values, or a list of {key, constraint_type, "
                'value}, not a list; such as {created_by: "${user._id}"}'
            ),
        ),
        (
            "type: order\nprivacy: [{name: a, when: [b]}]",
            "2: a condition of a privacy rule is written as keys and values, not as text",
        ),
        (
            "type: order\nfields: {a: number}\nprivacy: [{name: a, when: [{key: a, constraint_type: like, value: 1}]}]",
            (
                "3: unknown constraint_type 'like'; known are equals, greater than, in, is_empty, is_not_empty, "
                "less than, not equal, not in"
            ),
        ),
        (
            "type: order\nfields: {a: number}\nprivacy: [{name: a, when: [{key: a, constraint_type: equals}]}]",
            "3: the constraint 'equals' needs a value",
        ),
        (
            "type: order\nprivacy: [{name: a, users: thing.a == 1}]",
            "2:28: `thing.a == 1`: unknown name 'thing'; in scope here: now, user",
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
        (
            "type: order\nunique: number",
            "2: 'unique' is a list of fields, or of lists of fields, not text; write [number]",
        ),
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
        (
            "workflow: w\non:\n  recurrence: {cron: x}",
            (
                "3: 'cron': 'x' is not a cron expression: it takes five fields, and this has 1: minute, hour, day of "
                "month, month and day of week, as in 0 3 * * 1-5; the second may stand before them, or write a macro "
                "such as @daily"
            ),
        ),
        (
            "workflow: w\non:\n  recurrence:\n    cron: 61 * * * *",
            "4: 'cron': '61 * * * *' is not a cron expression: Bad minute; write it as in 0 3 * * 1-5",
        ),
        (
            "workflow: w\non: {recurrence: {cron: '@daily', start: tomorrow}}",
            "2: 'start': expected a time with a zone, such as 2030-01-31T09:00:00Z, got 'tomorrow'",
        ),
        (
            "workflow: w\non: {recurrence: {cron: '@daily', start: 2030-01-02T00:00:00Z, end: 2030-01-01T00:00:00Z}}",
            "2: 'end' is before 'start'; it would never tick",
        ),
        (
            "workflow: w\non: {recurrence: {cron: '@daily', times: 0}}",
            "2: 'times': expected a whole number from 1 to 1000000000000, got '0'",
        ),
        (
            "workflow: w\non: {recurrence: {cron: '@daily', pause_after_failures: 1000}}",
            "2: 'pause_after_failures': expected a whole number from 1 to 100, got '1000'",
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
        ("workflow: w\non: {api: {respond: now}}", "2: unknown respond 'now'; did you mean 'at_once'?"),
        (
            "workflow: w\non: {api: {redirect: 'javascript:alert(1)'}}",
            "2: 'javascript:alert(1)' is neither an http(s) URL nor a path; such as https://example.com/thanks",
        ),
        ("workflow: w\non: {api: {when_skipped: 204}}", "2: unknown when_skipped '204'; did you mean '200'?"),
        ("workflow: w\non: {webhook: {types: [a]}}", "2: the webhook trigger needs 'source'; such as source: stripe"),
        ("workflow: w\non: {webhook: {source: strip}}", "2: unknown source 'strip'; did you mean 'stripe'?"),
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
        (
            "workflow: w\nrecursive: yes",
            "2: 'recursive': expected true or false, got 'yes'; write true, without quotes",
        ),
        (
            "workflow: w\nrecursive: {}",
            "2: 'recursive' needs 'decreases'; such as recursive: {decreases: params.remaining}",
        ),
        ("workflow: w\nrecursive: {decreases: params.n}", "2:24: `params.n`: unknown parameter 'n'"),
        ("workflow: w\nrecursive: {decreases: 1, by: 2}", "2: unknown key 'by'; known are decreases"),
        ("workflow: w\nlabel: [a]", "2: 'label': expected text, got a list"),
        ("workflow: w\nsteps: {create: order}", "2: 'steps' is a list of steps, not a mapping; begin each with a dash"),
        ("workflow: w\nsteps: [create]", "2: a step is written as keys and values, not as text"),
    ],
)
def test_problems_of_the_head_of_a_workflow(workflow: str, problem: str) -> None:
    assert problems(workflow)[0] == problem
