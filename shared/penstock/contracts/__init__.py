"""What the services say to each other and to the outside over AMQP, described exactly once: messages, envelope,
topology.
"""
