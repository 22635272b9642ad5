"""Mail as a message and the SMTP server that takes it. Who is told what, and when it is tried again, is left to the
services.
"""
