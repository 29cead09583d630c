"""The operator's commands: serve, check, schedules, status, prune, backup, migrate, debug, otel."""
