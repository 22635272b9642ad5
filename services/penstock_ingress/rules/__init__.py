"""What the ingress decides without any I/O: whose request it is, whether it is genuine, what it says, and how the
answer looks.
"""
