"""Schemas of Kubernetes and of the operators, which manifests are held against."""
