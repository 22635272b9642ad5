"""What accepts: who is calling, what is deployed, requests made durable, answers and signals."""
