"""What moves messages: the port, and its two implementations, RabbitMQ and in-process. Only this package imports
aio-pika.
"""
