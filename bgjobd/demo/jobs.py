"""Sample classes as an application would write them; nothing here knows of the daemon."""

import os
import signal
import time
from email.message import EmailMessage
from mailbox import Maildir
from pathlib import Path

from bgjob import JobContext


class ExampleJob:
    """Does a little work and returns something."""

    def run(self, context: JobContext, count: int = 3) -> dict[str, int]:
        """Adds up the first numbers, slowly enough to be seen."""
        for number in range(1, count + 1):
            print(f"step {number} of {count}")
            time.sleep(0.1)
            context.progress(number / count, f"added {number}")
        return {"sum": sum(range(1, count + 1))}


class EmailNotification:
    """Delivers mail into the Maildir that $DEMO_MAILDIR names."""

    def send(self, to: str, subject: str, body: str = "") -> str:
        """Delivers one message; returns its key in the Maildir."""
        message = EmailMessage()
        message["To"], message["Subject"] = to, subject
        message.set_content(body or "Hello from a background job.")
        return Maildir(os.environ["DEMO_MAILDIR"]).add(message)


class FlakyJob:
    """Fails the first time, as a service that was down for a moment makes a job fail."""

    def run(self, marker: str) -> str:
        """Raises unless the marker file of an earlier attempt is there."""
        if not Path(marker).exists():
            Path(marker).touch()
            raise ConnectionError("the service did not answer")
        return "the service answered"


class CrashingJob:
    """Takes its whole process down, and nobody else's."""

    def run(self) -> None:
        """Ends by a segmentation fault's signal."""
        os.kill(os.getpid(), signal.SIGSEGV)


class ForbiddenJob:
    """Is not on the allowlist, so it is refused at submit."""

    def run(self) -> None:
        """Never runs."""
