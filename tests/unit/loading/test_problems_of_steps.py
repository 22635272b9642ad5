"""What is wrong with steps, word for word."""

import pytest

from tests.unit.loading.reading import step_problems


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
        ("{log: x, on_error: ignore}", "1: unknown on_error 'ignore'; did you mean 'continue'?"),
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
        ("{update: 1x1, set: {total: 1}}", "1: the data type of this thing is not known here; add type: to the step"),
        ("{http: }", "1: 'http' needs a URL; such as https://example.com"),
        (
            "{recur: other, every: daily, with: {n: 1}, cron: 0 3 * * *}",
            "1: cron and every exclude each other; keep one of them",
        ),
        ("{recur: other, with: {n: 1}}", "1: 'recur' needs cron or every"),
        ("{recur: other, every: daily}", "1: 'with' lacks 'n', which the workflow 'other' requires"),
        ("{recur: other, every: dayly, with: {n: 1}}", "1: unknown every 'dayly'; did you mean 'daily'?"),
        (
            "{recur: other, cron: 0 25 * * *, with: {n: 1}}",
            "1: 'cron': '0 25 * * *' is not a cron expression: Bad hour",
        ),
        ("{recur: other, every: daily, times: 0, with: {n: 1}}", "1: 'times': expected a whole number from 1 to"),
        ("{recur: other, every: daily, overlap: cancel, with: {n: 1}}", "1: unknown overlap 'cancel'"),
        (
            "{recur: other, every: daily, pause_after_failures: 101, with: {n: 1}}",
            "1: 'pause_after_failures': expected a whole number from 1 to 100",
        ),
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
            "{update: '${run.id}', set: {total: 1}}",
            "1: the data type of this thing is not known here; add type: to the step",
        ),
        ("{update: '${run.id}', type: ordr, set: {total: 1}}", "1: unknown data type 'ordr'; did you mean 'order'?"),
        ("{update: '${steps.thing}'}", "1: 'update' needs set or add or remove"),
        ("{update: '${steps.thing}', add: {total: 1}}", "1: 'total' is not a list; write it under set:"),
        ("{update: '${params.owner}', set: {nme: a}}", "1: unknown field of 'user' 'nme'; known are email"),
        ("{delete: 17}", "1: 'delete' needs a thing or its id; did you mean \"${17}\"?"),
        ("{get: order}", "1: 'get' needs where or id or thing"),
        ("{create_many: order, set: {total: 1}}", "1: 'create_many' needs from"),
        ("{create_many: order, from: '${steps.thing.tags}'}", "1: 'create_many' needs set"),
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
        ("{aggregate: order, by: tags}", "1: things cannot be grouped by tags, which is a list of text"),
        ("{get: order, id: '17'}", "1: 'id': expected the id of a thing, such as 1700000000000x123456789012345678"),
        ("{get: order, id: '${run.id}', where: {total: 1}}", "1: where and id exclude each other; keep one of them"),
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
            (
                "1: 'geographic_search' does not fit 'total', which is a number; fitting are equals, greater than, in, "
                "is_empty, is_not_empty, less than, not equal, not in"
            ),
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
        ("{each: [1], as: x}", "1: 'each' needs steps"),
        ("{each: params.n, steps: [{log: a}]}", "1: 'each' needs a list, not text; did you mean"),
        ("{each: '${len(\"abc\")}', steps: [{log: a}]}", "1: 'each': expected a list, got a number"),
        ("{each: [1], steps: []}", "1: 'steps' is a list of steps, not an empty one"),
        ("{each: [1], steps: {log: a}}", "1: 'steps' is a list of steps, not a mapping; begin each with a dash"),
        ("{each: [1], as: params, steps: [{log: a}]}", "1: 'params' means something else here; choose another name"),
        ("{each: [1], at_once: 21, steps: [{log: a}]}", "1: 'at_once': expected a whole number from 1 to 20"),
        ("{each: [1], steps: [{log: '${steps.later}'}]}", "1:32: `steps.later`: unknown step 'later'"),
        ("{each: [{a: 1}], steps: [{log: '${item.b}'}]}", "1:42: `item.b`: item has no member 'b'"),
        ("{each: [1], steps: [{each: [2], steps: [{log: a}]}]}", "1: `item` is that of the `each` around this step"),
        ("{each: [1], at_once: 2, steps: [{state: {a: 1}}]}", "1: 'state' cannot stand in steps that are performed"),
        ("{parallel: {a: [{stop: enough}]}}", "1: 'stop' cannot stand in steps that are performed beside others"),
        ("{parallel: {}}", "1: 'parallel' needs branches by name"),
        ("{parallel: {'a b': [{log: a}]}}", "1: 'a b' cannot name a branch; use letters, digits and _"),
        ("{parallel: {a: {log: a}}}", "1: 'a' is a list of steps, not a mapping; begin each with a dash"),
        ("{id: x, parallel: {a: [{id: x, log: a}]}}", "1: two steps have the id 'x'; ids are unique in a workflow"),
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
        ("{send: https://a.b, payload: 1, secret: whsec_x}", "1: the file contains a secret; write ${secrets.NAME}"),
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
