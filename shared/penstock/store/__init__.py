"""The rest of the SQL that several services share: deployments, secrets, workload, logs, the installation."""
