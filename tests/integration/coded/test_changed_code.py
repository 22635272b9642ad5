"""Code that changes between deployments, and executors that do not have it."""

from datetime import timedelta
from pathlib import Path

from penstock.testing import open_app
from tests.integration.coded.shop import error_of, write_app


async def test_changed_code_counts_from_the_next_deployment_on(tmp_path: Path) -> None:
    code = "from penstock import App\napp = App()\n@app.workflow()\nasync def tell(ctx):\n    return {'number': 1}\n"
    async with open_app(write_app(tmp_path, code, "")) as app:
        assert (await app.run("tell")).result == {"number": 1}
        for number in (2, 3):  # within the same second, and of the same size
            write_app(tmp_path, code.replace("1}", f"{number}}}"), "")
            await app.deploy()
            assert (await app.run("tell")).result == {"number": number}


async def test_a_run_of_an_older_version_outlives_a_module_that_it_does_not_need(tmp_path: Path) -> None:
    code = (
        "from penstock import App\napp = App()\n@app.workflow()\nasync def nap(ctx):\n    await ctx.wait('1d')\n   "
        " "
        "return {}\n"
    )
    write_app(tmp_path, code, "")
    (tmp_path / "extra.py").write_text("from penstock import App\napp = App()\n")
    (tmp_path / "app.yaml").write_text("app: coded\npython: [shop, extra]\n")
    async with open_app(tmp_path) as app:
        run_id = await app.start("nap")
        await app.wait_until_idle()
        (tmp_path / "extra.py").unlink()
        (tmp_path / "app.yaml").write_text("app: coded\npython: [shop]\n")
        await app.deploy()
        await app.advance(timedelta(days=2))
        assert (await app.wait_for(run_id)).state == "succeeded"


async def test_an_executor_without_the_code_says_what_to_set(tmp_path: Path) -> None:
    async with open_app(write_app(tmp_path), settings={"app": None}) as app:
        error = error_of(await app.run("listy"))
    assert (error["kind"], "set PENSTOCK_APP" in error["message"]) == ("code", True)


async def test_an_executor_with_other_code_says_so(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_app(other, "from penstock import App\napp = App()\n", "")
    (tmp_path / "app").mkdir()
    async with open_app(write_app(tmp_path / "app"), settings={"app": other}) as app:
        error = error_of(await app.run("listy"))
    assert (error["kind"], "shop:listy" in error["message"]) == ("code", True)
