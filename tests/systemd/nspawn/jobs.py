"""The application of the acceptance: jobs that note in a ledger of their own when they start and end."""

import os
import signal
import time

LEDGER = "/var/lib/bgjobd/ledger"


class Noted:
    def run(self, number: int, seconds: float) -> int:
        _note("start", number)
        time.sleep(seconds)
        _note("end", number)
        return number


class Deaf:
    def run(self, number: int) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _note("start", number)
        time.sleep(3600)


def _note(what: str, number: int) -> None:
    descriptor = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{what} {number} {os.getpid()}\n".encode())
    os.close(descriptor)
