"""Mail as a message and the SMTP server that takes it. Who gets which mail, and when it is tried again, is left to the
services.
"""
