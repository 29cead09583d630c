"""What a server, or the way to it, says where no connection comes about: whether waiting may mend that.

Of such errors libpq tells no code, so they are known by their words. What is not known may pass.
"""

from __future__ import annotations

import re
from typing import Final

_LASTING: Final = re.compile(
    "|".join(
        (
            r"authentication failed",
            r"no password supplied",
            r"pg_hba\.conf",
            r'(?:role|database) "[^"]*" does not exist',
            r"is not permitted to log in",
            r"permission denied for database",
            r"certificate verify failed",
            r"server certificate for",
            r"could not (?:load|read) (?:certificate|private key|root certificate)",
            r'(?:certificate|key) file "[^"]*" (?:does not exist|has )',
            r"does not support SSL",
            r"unsupported startup parameter",  # of a pooler
        )
    ),
    re.IGNORECASE,
)


def is_lasting(told: str) -> bool:
    """Whether the same is refused tomorrow, for a password, a name, a right or a certificate."""
    return _LASTING.search(told) is not None
