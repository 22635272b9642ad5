"""Mail from workflows in Python: the same step as in YAML, with things and files that other steps gave."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.testing import open_app, open_mailbox

CODE = """
from penstock import App, Context

app = App()


@app.workflow()
async def report(ctx: Context, to: str) -> dict:
    ada = await ctx.create("user", {"email": "ada@example.com"})
    orders = await ctx.export("user")
    id = await ctx.email(
        [ada, {"name": "B, C", "email": "bc@example.com"}], subject="Users", text="attached",
        attachments=[orders, {"name": "note.txt", "text": "hi"}],
    )
    await ctx.email(to, subject="Users", text="you, too")
    return {"id": id}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """The app. Its module is forgotten afterwards."""
    (tmp_path / "app.yaml").write_text("app: mail\nemail: {from: shop@example.com}\npython: [mail_workflows]\n")
    (tmp_path / "mail_workflows.py").write_text(CODE)
    yield tmp_path
    sys.modules.pop("mail_workflows", None)


async def test_a_workflow_in_python_writes_mail(directory: Path) -> None:
    async with open_mailbox() as mailbox, open_app(directory, settings={"smtp_url": mailbox.url}) as app:
        run = await app.run("report", {"to": "eve@example.com"})
        assert run.error is None
        first, second = mailbox.mails
        assert (first.recipients, second.recipients) == (("ada@example.com", "bc@example.com"), ("eve@example.com",))
        assert run.result == {"id": first.message["Message-ID"]}
        assert [part.get_content_type() for part in first.message.iter_attachments()] == ["text/csv", "text/plain"]
        failed = await app.run("report", {"to": "eve"})
        assert isinstance(failed.error, dict)
        assert "`to`: 'eve' is not a mail address" in str(failed.error["message"])
        assert "mail_workflows.py:15" in str(failed.error["message"])
