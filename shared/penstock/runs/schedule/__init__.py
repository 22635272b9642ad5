"""What is coming: held back by pauses, cancelled, or moved to another time."""
