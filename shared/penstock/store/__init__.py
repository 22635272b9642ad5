"""SQL that several rooms share: admission, deployments, lists, things, logs. Functions take a connection and never commit."""
