"""What YAML workflows call by `run: bookshop.stock.…`."""

from penstock import App, Context

app = App()


@app.action
async def order_from_publisher(ctx: Context, isbns: list[str], copies: int = 5) -> dict[str, int]:
    """Order `copies` of each book. Its steps are steps of the run that calls it."""
    for isbn in isbns:
        book = await ctx.get("book", where={"isbn": isbn}, step_id=f"book_{isbn}")
        if book is not None and isinstance(book.stock, int):
            await ctx.update(book, {"stock": book.stock + copies}, step_id=f"more_{isbn}")
    return {"copies": copies * len(isbns)}
