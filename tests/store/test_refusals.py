"""Which refusals of a connection waiting does not mend, by the words of PostgreSQL and libpq."""

from __future__ import annotations

import pytest

from bgjobd.store.engines.postgres_refusals import is_lasting

AT = 'connection failed: connection to server at "db.example" (192.0.2.1), port 5432 failed:'


@pytest.mark.parametrize(
    "told",
    [
        'FATAL:  password authentication failed for user "bgjobd"',
        "fe_sendauth: no password supplied",
        'FATAL:  no pg_hba.conf entry for host "192.0.2.7", user "bgjobd", database "bgjobd", no encryption',
        'FATAL:  database "bgjobd" does not exist',
        'FATAL:  role "bgjobd" does not exist',
        'FATAL:  role "bgjobd" is not permitted to log in',
        'FATAL:  permission denied for database "bgjobd"',
        "SSL error: certificate verify failed",
        'server certificate for "other.example" does not match host name "db.example"',
        'root certificate file "/home/shop/.postgresql/root.crt" does not exist',
        "server does not support SSL, but SSL was required",
        "ERROR:  unsupported startup parameter: options",
    ],
)
def test_a_name_a_password_a_right_or_a_certificate_is_refused_again_tomorrow(told: str) -> None:
    assert is_lasting(f"{AT} {told}")


@pytest.mark.parametrize(
    "told",
    [
        "Connection refused",
        "timeout expired",
        "No such file or directory",
        "server closed the connection unexpectedly",
        "FATAL:  the database system is starting up",
        "FATAL:  the database system is not accepting connections",
        "FATAL:  sorry, too many clients already",
        'FATAL:  database "bgjobd" is not currently accepting connections',
        'could not translate host name "db.example" to address: Temporary failure in name resolution',
    ],
)
def test_a_server_that_is_not_there_or_has_no_room_may_answer_later(told: str) -> None:
    assert not is_lasting(f"{AT} {told}")
