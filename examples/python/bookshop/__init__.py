"""The bookshop's Python."""
