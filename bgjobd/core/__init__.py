"""The rules about jobs, pure: no I/O, no clock, no randomness; `now` and jitter are arguments."""
