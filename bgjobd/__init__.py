"""The daemon that keeps and runs background jobs."""
