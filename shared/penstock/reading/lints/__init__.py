"""What is checked of a whole app once its files are read: recursion, exposure."""
