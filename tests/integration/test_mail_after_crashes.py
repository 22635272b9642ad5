"""An executor that dies while a mail server has its mail: the mail comes once more, and can be recognised by its
Message-ID.
"""

from pathlib import Path

from penstock.testing import open_app
from tests.eventually import eventually
from tests.mail_server import MailServer, serve_mail

APP = {
    "app.yaml": "app: mail\nemail: {from: shop@example.com}\n",
    "types/order.yaml": "type: order\nfields: {number: text}\n",
    "workflows/w.yaml": """
workflow: confirm
steps:
  - {id: order, create: order, set: {number: "1"}}
  - {id: mail, email: ada@example.com, subject: Order, text: Thank you}
  - {update: "${steps.order}", set: {number: "${steps.mail}"}}
""",
}


async def test_a_mail_whose_executor_dies_comes_again_with_the_same_id_and_nothing_else_is_repeated(
    tmp_path: Path,
) -> None:
    for name, text in APP.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    mind = MailServer(falls_silent_after=0)
    async with serve_mail(mind) as url, open_app(tmp_path, settings={"smtp_url": url}) as app:
        run_id = await app.start("confirm")
        await eventually(lambda: mind.mails, within=20)
        mind.falls_silent_after = 1000
        await app.crash_executor()
        run = await app.wait_for(run_id, within=30)
        assert (run.state, run.attempt, len(mind.mails)) == ("succeeded", 2, 2)
        first, second = (mail["Message-ID"] for _, mail in mind.mails)
        assert [order["number"] for order in await app.find("order")] == [first] == [second]
