"""What the executor decides without any I/O: what kind of failure an error is, and whether it is tried again."""
