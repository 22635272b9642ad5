"""Where a password may stand, and where `penstock check` refuses it."""

import pytest

from tests.unit.loading.reading import problems

HEAD = """workflow: w
parameters: {email: text, password: password, old: {type: password, optional: true}}
on: {api: {method: POST, auth: public}}
steps:
"""
INNER = """---
workflow: inner
parameters: {email: text, secret: password}
steps: [{log_in: "${params.email}", password: "${params.secret}"}]
"""
READ = (
    "a password is encrypted, and can only be given as it is, as ${params.NAME}, to the steps about accounts (log_in "
    "and the like) and to a workflow that `trigger` performs"
)
ONLY = "'password' takes a parameter of type password, and nothing else; write ${params.old}"


@pytest.mark.parametrize(
    "step",
    [
        "{log_in: '${params.email}', password: '${params.password}', expires: 30d}",
        "{log_in: '${params.email}', password: '${ params.old }'}",
        "{sign_up: '${params.email}', password: '${params.password}', set: {email: '${params.email}'}}",
        "{trigger: inner, with: {email: '${params.email}', secret: '${params.password}'}}",
        "{log_out: others}",
    ],
)
def test_a_password_goes_to_the_steps_about_accounts(step: str) -> None:
    assert problems(f"{HEAD}- {step}\n{INNER}") == []


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("{log: '${params.password}'}", f"5:12: `params.password`: {READ}"),
        ("{return: {a: '${params.old}'}}", f"5:19: `params.old`: {READ}"),
        ("{return: {a: '${params}'}}", f"5:19: `params`: {READ}"),
        ("{http: 'https://a.example.com', json: {a: '${params.password}'}}", f"5:48: `params.password`: {READ}"),
        ("{when: params.password != null, log: x}", f"5:10: `params.password != null`: {READ}"),
        ("{sign_up: '${params.password}', password: '${params.password}'}", f"5:16: `params.password`: {READ}"),
        ("{log_in: a@example.com, password: '${params.email}'}", f"5: {ONLY}"),
        ("{log_in: a@example.com, password: 'my ${params.password}'}", f"5: {ONLY}"),
        ("{log_in: a@example.com, password: hunter22}", f"5: {ONLY}"),
        ("{log_in: a@example.com}", "5: 'log_in' needs password"),
        ("{log_in: params.email, password: '${params.password}'}", "5: 'log_in': 'params.email' is not an email; did"),
        ("{log_out: everywhere}", "5: unknown log_out 'everywhere'; known are all, others, this"),
        (
            "{trigger: inner, with: {email: '${params.email}', secret: '${params.email}'}}",
            "5: 'secret' takes a parameter of type password, and nothing else",
        ),
        (
            "{schedule: inner, with: {email: '${params.email}', secret: '${params.password}'}}",
            "5: 'secret' is a password, which cannot be handed to another run; trigger the workflow",
        ),
        (
            "{schedule_list: inner, over: [1], with: {email: a, secret: '${params.password}'}}",
            "5: 'secret' is a password, which cannot be handed to another run",
        ),
    ],
)
def test_a_password_goes_nowhere_else(step: str, problem: str) -> None:
    (found,) = problems(f"{HEAD}- {step}\n{INNER}")
    assert found.startswith(problem)


def test_a_condition_of_the_workflow_reads_no_password() -> None:
    (found,) = problems(HEAD.replace("steps:", "when: params.password != ''\nsteps:") + "- log: x\n")
    assert found == f"4:7: `params.password != ''`: {READ}"


@pytest.mark.parametrize(
    ("parameter", "problem"),
    [
        ("list of password", "2: there are no lists of passwords; give each one a parameter of its own"),
        (
            "{type: password, optional: true, default: hunter22}",
            "2: a password has no default; the caller gives it",
        ),
    ],
)
def test_what_no_password_can_be(parameter: str, problem: str) -> None:
    assert problems(f"workflow: w\nparameters: {{p: {parameter}}}\nsteps: []\n") == [problem]


def test_things_have_no_passwords() -> None:
    (found,) = problems(types="type: order\nfields: {secret: password}\n")
    assert "'password' is a type for parameters only; the steps sign_up and reset_password" in found


@pytest.mark.parametrize(
    "step",
    ["{send_password_reset: a@example.com, link: 'https://a.example.com/{token}'}",
     "{verify_email: a@example.com, link: 'https://a.example.com/{token}'}"],
)  # fmt: skip
def test_a_mail_about_an_account_is_sent_where_no_caller_waits(step: str) -> None:
    (found,) = problems(f"{HEAD}- {step}\n")
    assert "cannot stand in a workflow with an api trigger: how long it takes says who has an account" in found
    assert problems(f"workflow: w\nsteps:\n- {step}\n") == []


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (
            "{reset_password: '${params.email}', password: '${params.password}'}",
            "5: 'reset_password' takes a",
        ),
        ("{reset_password: '${params.old}'}", "5: 'reset_password' needs password"),
        ("{verify_email: '${params.email}'}", "5: 'verify_email' takes a parameter of type password"),
    ],
)
def test_the_token_of_a_mail_is_a_password(step: str, problem: str) -> None:
    (found,) = problems(f"{HEAD}- {step}\n")
    assert found.startswith(problem)


def test_a_link_has_a_place_for_its_token() -> None:
    step = "{send_password_reset: a@example.com, link: 'https://a.example.com'}"
    (found,) = problems(f"workflow: w\nsteps:\n- {step}\n")
    assert found.startswith("3: 'link' has to be a URL with {token} in it")
