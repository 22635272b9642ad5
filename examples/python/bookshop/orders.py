"""An order: priced, stored, and paid within two weeks, or else let go."""

from decimal import Decimal

from pydantic import BaseModel, Field

from bookshop.prices import quote
from penstock import App, Context, Permanent, Thing, api

app = App()


class Line(BaseModel):
    """One book of an order."""

    isbn: str
    copies: int = Field(default=1, ge=1, le=100)


class Order(BaseModel):
    """What a customer sends: the parameters of the workflow."""

    customer: str
    lines: list[Line]


@app.workflow(on=[api(auth="public")], retries=3)
async def order(ctx: Context, order: Order) -> dict[str, object]:
    """Take an order, and give the customer two weeks to pay it. Whatever dies in between, no book is taken twice."""
    books: list[Thing] = []
    total = Decimal(0)
    for line in order.lines:
        book = await ctx.get("book", where={"isbn": line.isbn})
        if book is None:
            raise Permanent(f"there is no book {line.isbn}")
        # Prices change by the hour: the one that the customer sees is remembered, even when this run is tried again.
        total += line.copies * await ctx.step(f"price_{line.isbn}", quote, str(book.price), line.copies)
        books.append(book)
    placed = await ctx.create(
        "order", {"customer": order.customer, "books": [book.id for book in books], "total": total, "state": "open"}
    )
    await ctx.schedule("await_payment", {"order": placed.id})
    return {"order": placed.id, "total": total}


@app.workflow()
async def await_payment(ctx: Context, order: str) -> dict[str, object]:
    """Wait for the bank's word, for two weeks; nothing is held meanwhile. `POST /v1/<environment>/signals/paid` tells
    it.
    """
    payment = await ctx.wait_for("paid", {"order": order}, timeout="14d")
    state = "lapsed" if payment is None else "paid"
    await ctx.update(order, {"state": state}, type="order")
    return {"state": state}
