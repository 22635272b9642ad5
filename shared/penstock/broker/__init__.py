"""Moves messages: the port and its implementations, RabbitMQ and in-process. Only this package imports aio-pika."""
