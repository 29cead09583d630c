"""This machine, as the daemon meets it: clock, lock, log, directories, systemd's protocols; nothing about jobs."""
