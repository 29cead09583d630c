"""This machine and process: clock, lock, log, directories, systemd's protocols, threads, work in pieces; no jobs."""
