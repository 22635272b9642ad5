"""Pages behind the links of `wait_for`: a form, and what is said to those who follow a link that leads nowhere."""

from collections.abc import Mapping
from html import escape
from typing import Final

from penstock.definitions.approval_forms import MAX_TEXT, FormField
from penstock_ingress.rules.html import page
from penstock_ingress.rules.replies import Reply

_PRIVATE: Final = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex, nofollow"}
"""Neither a proxy nor a search engine keeps a page whose URL is a key."""
_NO_VALUES: Final[Mapping[str, str]] = {}


def show_form(
    title: str,
    fields: tuple[FormField, ...],
    *,
    given: Mapping[str, str] = _NO_VALUES,
    problems: Mapping[str, str] = _NO_VALUES,
) -> Reply:
    """The form, with what was sent and what is wrong with it. It is sent to the URL of the page."""
    intro = "Please fill in this form. It can be sent once." if fields else "Please confirm. This can be done once."
    wrong = '<p class="wrong" role="alert">Please correct what is marked below.</p>' if problems else ""
    rows = "".join(
        _show_field(number, field, given.get(field.name, ""), problems.get(field.name))
        for number, field in enumerate(fields)
    )
    body = (
        f"<h1>{escape(_humanise(title))}</h1>\n<p>{intro}</p>\n{wrong}\n"
        f'<form method="post" accept-charset="utf-8" autocomplete="off">\n{rows}'
        f'<p><button type="submit">{"Send" if fields else "Confirm"}</button></p>\n</form>'
    )
    reply = page(_humanise(title), body, status=422 if problems else 200, has_form=True)
    return reply.with_headers(_PRIVATE)


def say_thanks() -> Reply:
    """The answer has been taken."""
    return _say(200, "Thank you", "Your answer has been received. You can close this page.")


def say_over() -> Reply:
    """The link was used, or its time is over."""
    return _say(
        410,
        "This link is no longer valid",
        "It has been used already, or its time is over. If an answer is still needed, ask for a new link.",
    )


def say_unknown() -> Reply:
    """There was never such a link."""
    return _say(
        404, "This link is not known", "Please check that it is complete: some programs break long links in two."
    )


def say_early() -> Reply:
    """The run has not come to the step yet."""
    text = "What it is for is still being prepared. Please open it again in a moment."
    return _say(409, "This link is not ready yet", text).with_headers({"Retry-After": "5"})


def _say(status: int, title: str, text: str) -> Reply:
    return page(title, f"<h1>{escape(title)}</h1>\n<p>{escape(text)}</p>", status=status).with_headers(_PRIVATE)


def _show_field(number: int, field: FormField, value: str, problem: str | None) -> str:
    id, about = f"field{number}", f"problem{number}"
    label = escape(field.label)
    marks = "" if problem is None else f' aria-invalid="true" aria-describedby="{about}"'
    said = "" if problem is None else f'<span class="wrong" id="{about}">{escape(problem)}</span>'
    name = f'id="{id}" name="{escape(field.name)}"{marks}'
    if field.kind == "boolean":
        checked = " checked" if value else ""
        return f'<p><label for="{id}"><input type="checkbox" {name} value="true"{checked}>{label}</label>{said}</p>\n'
    needed = "" if field.is_optional else " required"
    optional = ' <span class="soft">(optional)</span>' if field.is_optional else ""
    return f'<p><label for="{id}">{label}{optional}</label>{_show_input(field, name + needed, value)}{said}</p>\n'


def _show_input(field: FormField, attributes: str, value: str) -> str:
    if field.options:
        options = "".join(
            f'<option value="{escape(one)}"{" selected" if one == value else ""}>{escape(one)}</option>'
            for one in field.options
        )
        return f'<select {attributes}><option value="">…</option>{options}</select>'
    if field.kind == "number":
        return f'<input {attributes} type="text" inputmode="decimal" value="{escape(value)}">'
    if field.kind == "date":
        return f'<input {attributes} type="date" value="{escape(value)}">'
    return f'<textarea {attributes} rows="3" maxlength="{MAX_TEXT}">\n{escape(value)}</textarea>'


def _humanise(name: str) -> str:
    words = name.replace("_", " ").replace("-", " ").strip() or name
    return words[:1].upper() + words[1:]
