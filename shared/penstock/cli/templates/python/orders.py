"""Orders: priced, stored, and paid within two weeks, or else let go.

When a run is tried again, its function starts at the top, and the steps that are done return what they returned.
"""

from decimal import Decimal

from penstock import App, Context, Permanent, api

app = App()


def discount(total: Decimal) -> Decimal:
    """A plain function, tested as one: what is left of a total after the discount for large orders."""
    return total * Decimal("0.9") if total >= 100 else total


async def quote(prices: list[float]) -> float:
    """What an order costs now. Tomorrow it may cost more, so a run remembers what it quoted: see `ctx.step` below."""
    return float(discount(sum((Decimal(str(price)) for price in prices), Decimal(0))))


@app.workflow(on=[api(method="POST", auth="public")], retries=3, timeout="1m")
async def place_order(ctx: Context, number: str, prices: list[float]) -> dict[str, object]:
    """POST /api/1.1/wf/place_order: the parameters come from the signature, the answer is what is returned."""
    if not prices:
        raise Permanent("an order has at least one line")  # tried again, it would fail again
    total = await ctx.step("total", quote, prices)  # any coroutine, remembered once it is done
    order = await ctx.create("order", {"number": number, "total": total, "status": "open"}, upsert=["number"])
    await ctx.schedule("await_payment", {"order": order.id})
    return {"order": order.id, "total": total}


@app.workflow()
async def await_payment(ctx: Context, order: str) -> dict[str, object]:
    """Wait two weeks for the signal `paid`; nothing is held meanwhile, and a restart loses nothing."""
    payment = await ctx.wait_for("paid", {"order": order}, timeout="14d")
    status = "lapsed" if payment is None else "paid"
    await ctx.update(order, {"status": status}, type="order")
    return {"status": status}
