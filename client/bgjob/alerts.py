"""What tells people of an alert, as a job of the daemon's own: runs a program, or sends mail; nobody can submit it."""

from __future__ import annotations

import json
import smtplib
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from email.message import EmailMessage
from typing import Any

from bgjob.text import one_line

_PATIENCE = 30.0
"""Seconds that a program, or a mail server, may take."""


class Notice:
    """Tells one target; what it is to do comes from the daemon's configuration alone."""

    def command(self, argv: list[str], notice: dict[str, Any]) -> None:
        """Run a program with the notice on stdin, as JSON."""
        subprocess.run(argv, input=json.dumps(notice), text=True, timeout=_PATIENCE, check=True)

    def smtp(self, server: str, sender: str | None, to: list[str], notice: dict[str, Any]) -> None:
        """Send the notice as mail."""
        host, _, port = server.rpartition(":")
        with smtplib.SMTP(host.strip("[]"), int(port), timeout=_PATIENCE) as mail:
            mail.send_message(letter(sender, to, notice))


def letter(sender: str | None, to: Sequence[str], notice: Mapping[str, Any]) -> EmailMessage:
    """The notice as a letter. What jobs may have worded is in its body alone."""
    message = EmailMessage()
    message["From"] = sender or f"bgjobd@{socket.gethostname() or 'localhost'}"
    message["To"] = ", ".join(to)
    what = "over: " if notice["cleared"] else ""
    message["Subject"] = f"bgjobd on {one_line(notice['host'])}: {what}{one_line(notice['rule'])}"
    message.set_content("".join(f"{line}\n" for line in lines(notice)))
    return message


def lines(notice: Mapping[str, Any]) -> Iterator[str]:
    """What a person reads of a notice; each text of others on a line of its own."""
    if notice["note"]:
        yield f"({notice['note']})"
    for one in (notice, *notice["others"]):
        yield f"{'OVER: ' if one['cleared'] else ''}{one_line(one['message'])}"
        if one["hint"] and not one["cleared"]:
            yield f"  {one_line(one['hint'])}"
        yield f"  {one_line(one['rule'])}, since {one['since']}, on {one_line(one['host'])}; alert {one['id']}"
    if notice["more"]:
        yield f"and {notice['more']:,} more: `bgjob alerts` has them"
