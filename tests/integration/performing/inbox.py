"""A handler for tests of runs."""

from penstock.broker.port import Delivery


class Inbox:
    """Takes what is published to a queue."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    async def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        await delivery.ack()
