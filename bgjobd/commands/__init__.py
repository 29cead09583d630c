"""The operator's commands: serve, check, status, prune, backup."""
