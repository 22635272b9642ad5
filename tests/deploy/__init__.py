"""What is in deploy/, read as Docker, Compose, Kubernetes and Helm read it, and held against the code."""
