"""What the configuration accepts, refuses and says about it; files are real, the environment is a dict."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from bgjob.words import Backoff, Outcome
from bgjobd.config import loading
from bgjobd.config.approved import ClassPolicy
from bgjobd.config.loading import load
from bgjobd.config.problems import ConfigError, Problem
from bgjobd.config.sections import Config, Queue
from bgjobd.config.values import TcpAddress, UnixAddress, delay, size
from bgjobd.core.stopping import AtStop
from bgjobd.supervisor.application import Application


@pytest.fixture(autouse=True)
def system_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for /etc/bgjobd/bgjobd.toml, absent until a test writes it."""
    file = tmp_path / "etc" / "bgjobd.toml"
    file.parent.mkdir()
    monkeypatch.setattr(loading, "SYSTEM_FILE", file)
    return file


def loaded(directory: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    file = directory / "bgjobd.toml"
    file.write_text(text)
    return load(file, environ or {"HOME": "/home/alice"}, is_root=False)


def problems(directory: Path, text: str, environ: Mapping[str, str] | None = None) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        loaded(directory, text, environ)
    return caught.value.problems


# Defaults


def test_nothing_configured_gives_the_documented_defaults() -> None:
    made = load(None, {"HOME": "/home/alice"}, is_root=False)
    assert made.file is None
    assert made.daemon.slots == len(os.sched_getaffinity(0))
    assert (made.daemon.fifo, made.daemon.drain) == (None, False)
    assert made.socket.model_dump() == {
        "max_frame": 2**20,
        "max_parameters": 2**16,
        "max_depth": 32,
        "max_name": 255,
        "max_connections": 256,
        "max_connections_per_uid": 64,
        "frame_timeout": 10.0,
        "idle_timeout": 600.0,
        "max_unread": 2**22,
        "max_pipelined": 64,
        "max_under_way": 2**25,
    }
    assert made.app.model_dump() == {
        "python": None,
        "path": (),
        "env": {},
        "prepare": None,
        "on_failure": None,
        "import_timeout": 30.0,
        "exit_grace": 5.0,
        "exit_handlers": "own",
    }
    assert (made.retry.max_retries, made.retry.retry_delay, made.retry.cap) == (3, 5.0, 100)
    assert (made.retry.backoff, made.retry.max_retry_delay) == (Backoff.CONSTANT, 3600.0)
    assert (made.limits.stop_grace, made.limits.max_output, made.limits.timeout) == (10.0, 2**20, None)
    assert made.queues == {"default": Queue(slots=None, max_pending=100_000)}
    assert (made.log.console, made.log.level, made.log.snapshots) == ("auto", "info", False)
    assert (made.web.enabled, made.web.bind) == (True, TcpAddress("127.0.0.1", 8377))
    assert (made.web.per_page, made.web.actions, made.web.allow_remote) == (10, False, False)
    assert (made.access.submit, made.access.manage, made.access.read) == (None, None, None)
    assert made.retention.completed == 14 * 86400
    assert (made.retention.failed, made.retention.logs) == (90 * 86400, 30 * 86400)
    assert (made.hosts.name, made.hosts.beat) == (socket.gethostname(), 5.0)
    assert (made.hosts.lost_after, made.hosts.outputs) == (600.0, 256 * 1024)
    assert made.approved == {}


def test_an_empty_file_is_as_good_as_none(tmp_path: Path) -> None:
    made = loaded(tmp_path, "")
    assert made.file == tmp_path / "bgjobd.toml"
    assert made.daemon == load(None, {"HOME": "/home/alice"}, is_root=False).daemon


def test_an_approved_class_that_sets_nothing_has_every_key_unset(tmp_path: Path) -> None:
    made = loaded(tmp_path, '[approved]\n"myapp.jobs.ExampleJob" = {}')
    assert set(made.approved["myapp.jobs.ExampleJob"].model_dump().values()) == {None}


def test_a_configuration_cannot_be_changed(tmp_path: Path) -> None:
    made = loaded(tmp_path, "")
    with pytest.raises(ValidationError, match="frozen"):
        made.retry.cap = 5


# Every key


def test_every_key_of_every_section_is_taken(tmp_path: Path) -> None:
    made = loaded(tmp_path, EVERY_KEY)
    policy = made.approved["myapp.jobs.EmailNotification"]
    assert made.daemon.model_dump() == {
        "socket": Path("/run/x.sock"),
        "fifo": Path("/run/x.fifo"),
        "state_dir": Path("/var/lib/x"),
        "database": "postgresql://x@db.example/x",
        "runtime_dir": Path("/run/x"),
        "log_dir": Path("/var/log/x"),
        "slots": 4,
        "spares": 2,
        "at_stop": AtStop.DRAIN,
        "drain": True,
    }
    assert (made.socket.max_frame, made.socket.idle_timeout) == (2 * 2**20, 300.0)
    assert made.app.python == "python3.12"
    assert made.app.env == {"DJANGO_SETTINGS_MODULE": "myapp.settings"}
    assert made.retry.backoff is Backoff.EXPONENTIAL
    assert (made.limits.memory, made.limits.cpu_share, made.limits.nice) == (2**29, 1.5, -5)
    assert made.limits.max_output is None
    assert made.queues["mail"] == Queue(slots=2, max_pending=10)
    assert made.web.bind == UnixAddress(Path("/run/x-web.sock"))
    assert made.access.submit == ("alice", "@ops", "1000", "@1000")
    assert (made.access.manage, made.access.read) == ((), ("bob",))
    assert (made.retention.completed, made.retention.logs) == (86400.0, None)
    assert made.hosts.model_dump() == {"name": "web1", "beat": 1.0, "lost_after": None, "outputs": 0}
    assert policy.model_dump().keys() == ClassPolicy.model_fields.keys()
    assert None not in policy.model_dump().values()
    assert policy.retry_on == (Outcome.FAILED, Outcome.TIMED_OUT)
    assert (policy.memory, policy.timeout, policy.priority) == (2**28, 60.0, -(2**63))


EVERY_KEY = """
[daemon]
socket = "unix:/run/x.sock"
fifo = "/run/x.fifo"
state_dir = "/var/lib/x"
database = "postgresql://x@db.example/x"
runtime_dir = "/run/x"
log_dir = "/var/log/x"
slots = 4
spares = 2
at_stop = "drain"
drain = true
[socket]
max_frame = "2M"
max_parameters = 1000
max_depth = 16
max_name = 100
max_connections = 10
max_connections_per_uid = 5
frame_timeout = "500ms"
idle_timeout = "5m"
max_unread = "1MiB"
max_pipelined = 8
[app]
python = "python3.12"
path = ["/srv/myapp"]
env = { DJANGO_SETTINGS_MODULE = "myapp.settings" }
import_timeout = 5
[retry]
max_retries = 1
retry_delay = 0
backoff = "exponential"
max_retry_delay = "1h"
cap = 10
[limits]
timeout = "1h"
stop_grace = 0
memory = "512M"
cpu = 30
cpu_share = 1.5
open_files = 100
processes = 10
file_size = "1G"
max_output = false
work_limit = false
nice = -5
best_effort = true
[queues]
mail = { slots = 2, max_pending = 10 }
[log]
console = "json"
level = "debug"
snapshots = true
[web]
enabled = false
bind = "unix:/run/x-web.sock"
base_path = "/ops/jobs"
per_page = 100
actions = true
allow_remote = true
[access]
submit = ["alice", "@ops", "1000", "@1000"]
manage = []
read = ["bob"]
[hosts]
name = "web1"
beat = "1s"
lost_after = false
outputs = 0

[retention]
completed = "1d"
failed = 3600
logs = false
[approved."myapp.jobs.EmailNotification"]
methods = ["send"]
queue = "mail"
priority = -9223372036854775808
rate = "100/1m burst 20"
key = "order"
max_retries = 5
retry_delay = 1.5
backoff = "constant"
max_retry_delay = 60
crashes = false
retry_lost = false
unknown = "review"
exit_grace = 2
exit_handlers = "all"
timeout = 60
stop_grace = 5
memory = "256M"
cpu = 10
cpu_share = 1
open_files = 50
processes = 5
file_size = "1M"
max_output = "2M"
work_limit = "3M"
nice = 19
user = "www-data"
group = "33"
writable = ["/srv/mail"]
network = "no-tcp"
umask = "022"
unique = ["recipient"]
throttle = false
sensitive = ["password"]
slots = 1
slots_everywhere = 2
retry_on = ["failed", "timed_out"]
"""


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (1, 1),
        ("7", 7),
        ("1K", 1024),
        ("1k", 1024),
        ("256M", 2**28),
        ("2GiB", 2**31),
        ("1TB", 2**40),
        ("3 MB", 3 << 20),
    ],
)
def test_a_size_is_bytes_or_has_a_unit(written: object, expected: int) -> None:
    assert size(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (0, 0.0),
        (2.5, 2.5),
        ("30", 30.0),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("5m", 300.0),
        ("2h", 7200.0),
        ("14d", 1209600.0),
    ],
)
def test_a_time_is_seconds_or_has_a_unit(written: object, expected: float) -> None:
    assert delay(written) == expected


@pytest.mark.parametrize(
    "bind", ["127.0.0.1:1", "127.8.8.8:0", "localhost:65535", "[::1]:8377", "unix:/run/w.sock"]
)
def test_a_page_on_this_machine_needs_no_permission(tmp_path: Path, bind: str) -> None:
    assert loaded(tmp_path, f'[web]\nbind = "{bind}"').web.bind.is_loopback


@pytest.mark.parametrize("path", ["", "/jobs", "/ops/bgjobd", "/~ops/v1.2/a_b-c", "/...", "/.a"])
def test_a_page_may_be_below_a_path(tmp_path: Path, path: str) -> None:
    assert loaded(tmp_path, f'[web]\nbase_path = "{path}"').web.base_path == path


def test_a_page_for_other_machines_is_possible_when_asked_for(tmp_path: Path) -> None:
    made = loaded(tmp_path, '[web]\nbind = "[2001:db8::1]:80"\nallow_remote = true')
    assert made.web.bind == TcpAddress("2001:db8::1", 80)
    assert str(made.web.bind) == "[2001:db8::1]:80"


# Bad values

BAD_VALUES = [
    ("nosuch = 1", "nosuch", "there is no such key; allowed here: daemon, socket, app"),
    ("file = '/etc/passwd'", "file", "there is no such key"),
    (
        "[alerts.rules.slow]\ntims = 5",
        "alerts.rules.slow.tims",
        "there is no such key; did you mean times? allowed here: when, job, queue",
    ),
    (
        "[alerts.targets.pager]\njb = 'a.B::c'",
        "alerts.targets.pager.jb",
        "there is no such key; did you mean job? allowed here: job, command",
    ),
    ("retry = 5", "retry", "must be a table, not 5"),
    ("approved = ['a.B']", "approved", "must be a table"),
    ("[schedules.x]\njob = 'a.B::c'", "schedules.x", "must have cron, such as"),
    (
        "[schedules.x]\njob = 'a.B::c'\ncron = '@daily'\nevery = 5",
        "schedules.x",
        "must not have both cron and every",
    ),
    ("[schedules.x]\njob = 'a.B::c'\nevery = 0", "schedules.x.every", "must be at least 1 s, not 0"),
    (
        "[retry]\nmax_retrys = 1",
        "retry.max_retrys",
        "did you mean max_retries or max_retry_delay? allowed here: cap",
    ),
    ("[queues.mail]\nslot = 1", "queues.mail.slot", "allowed here: slots, max_pending"),
    ("[daemon]\nslots = 0", "daemon.slots", "greater than or equal to 1, not 0"),
    ("[daemon]\nslots = true", "daemon.slots", "must be a whole number, not true"),
    ("[daemon]\nslots = '4'", "daemon.slots", "must be a whole number, not '4'"),
    (
        "[daemon]\nat_stop = 'kill'",
        "daemon.at_stop",
        "must be 'auto', 'leave', 'stop' or 'drain', not 'kill'",
    ),
    ("[daemon]\nat_stop = 'leave'\ndrain = true", "daemon.drain", 'at_stop = "drain" says the same'),
    ("[daemon]\ndrain = 1", "daemon.drain", "must be true or false, not 1"),
    ("[daemon]\nstate_dir = ''", "daemon.state_dir", "must be a path, not ''"),
    ("[daemon]\nstate_dir = 3", "daemon.state_dir", "must be a path, not 3"),
    ("[daemon]\ndatabase = 'mysql://db/x'", "daemon.database", 'must be "postgresql://USER@HOST/DATABASE"'),
    ("[daemon]\ndatabase = 3", "daemon.database", "not 3"),
    ("[daemon]\ndatabase = 'postgresql://u:p@db/x'", "daemon.database", "a file that PGPASSFILE names"),
    ("[daemon]\ndatabase = 'postgresql://u@db/x?password=p'", "daemon.database", "must have no password"),
    ('[daemon]\nfifo = "a\\u0000b"', "daemon.fifo", "must be a path"),
    ("[daemon]\nsocket = 'unix:@abstract'", "daemon.socket", "no abstract socket"),
    ("[daemon]\nsocket = 'unix:'", "daemon.socket", "must be a path"),
    (f"[daemon]\nsocket = '/{'s' * 107}'", "daemon.socket", "may have 107 bytes, and"),
    ("[socket]\nmax_frame = true", "socket.max_frame", "must be a size, in bytes or such as"),
    ("[socket]\nmax_frame = 0", "socket.max_frame", "from 1 byte"),
    ("[socket]\nmax_frame = 1.5", "socket.max_frame", "must be a size"),
    ("[socket]\nmax_unread = '9999999999T'", "socket.max_unread", "from 1 byte to 2**63 - 1"),
    ("[socket]\nmax_parameters = '64X'", "socket.max_parameters", "not '64X'"),
    ("[socket]\nmax_parameters = '-1K'", "socket.max_parameters", "not '-1K'"),
    ("[socket]\nmax_depth = -1", "socket.max_depth", "greater than or equal to 1"),
    ("[socket]\nmax_depth = 0xffffffffffffffffffff", "socket.max_depth", "not a number beyond 64 bits"),
    ("[socket]\nframe_timeout = 0", "socket.frame_timeout", "above 0"),
    ("[socket]\nidle_timeout = 0", "socket.idle_timeout", "above 0"),
    ("[socket]\nframe_timeout = inf", "socket.frame_timeout", "a hundred years"),
    ("[socket]\nframe_timeout = nan", "socket.frame_timeout", "not nan"),
    ("[socket]\nframe_timeout = false", "socket.frame_timeout", "must be a time, in seconds or such as"),
    ("[socket]\nframe_timeout = '1h30m'", "socket.frame_timeout", "not '1h30m'"),
    ("[app]\npath = '/srv'", "app.path", "must be a list"),
    ("[app]\npath = ['/srv', 3]", "app.path[1]", "must be a path"),
    ("[app]\npython = ''", "app.python", "must be a path"),
    ("[app]\npython = 3.12", "app.python", "must be text, not 3.12"),
    ("[app]\nenv = { 'A=B' = 'c' }", 'app.env."A=B"', 'without "=" and NUL'),
    ("[app]\nenv = { PORT = 80 }", "app.env.PORT", "must be text, not 80"),
    ('[app]\nenv = { TOKEN = "se\\u0000cret" }', "app.env.TOKEN", "must be text without NUL"),
    ("[retry]\nmax_retries = 101", "retry.max_retries", "at most the cap of [retry], 100, not 101"),
    ("[retry]\ncap = 2", "retry.max_retries", "at most the cap of [retry], 2, not 3"),
    ("[retry]\nretry_delay = -1", "retry.retry_delay", "from 0 to a hundred years"),
    ("[retry]\nbackoff = 'linear'", "retry.backoff", "must be 'constant' or 'exponential', not 'linear'"),
    ("[limits]\nnice = 20", "limits.nice", "less than or equal to 19"),
    ("[limits]\nmemory = true", "limits.memory", "must be a size"),
    ("[limits]\ncpu_share = 0", "limits.cpu_share", "above 0"),
    ("[limits]\ncpu_share = '2'", "limits.cpu_share", "must be a number of cores"),
    ("[limits]\ncpu_share = inf", "limits.cpu_share", "above 0, not inf"),
    ("[limits]\nstop_grace = '36501d'", "limits.stop_grace", "a hundred years"),
    ("[queues]\n'9mail' = {}", "queues.9mail", "a letter, then at most 63 letters"),
    ("[queues]\nmail = 3", "queues.mail", "must be a table"),
    ("[queues.mail]\nmax_pending = 0", "queues.mail.max_pending", "greater than or equal to 1"),
    ("[log]\nconsole = 'xml'", "log.console", "must be 'auto', 'text', 'json' or 'none', not 'xml'"),
    ("[log]\nlevel = 'loud'", "log.level", "'warning'"),
    ("[web]\nbind = '0.0.0.0:8377'", "web.bind", "unless allow_remote = true"),
    ("[web]\nbind = 'example.org:80'", "web.bind", "must be a loopback address"),
    ("[web]\nbind = '127.0.0.1'", "web.bind", 'must be "HOST:PORT", "[IPV6]:PORT" or "unix:PATH"'),
    ("[web]\nbind = '127.0.0.1:65536'", "web.bind", "not '127.0.0.1:65536'"),
    ("[web]\nbind = '[::g]:80'", "web.bind", "HOST:PORT"),
    ("[web]\nbind = 8377", "web.bind", "not 8377"),
    (f"[web]\nbind = 'unix:/{'s' * 107}'", "web.bind", "is too long"),
    ("[web]\nbase_path = 'jobs'", "web.base_path", 'must be empty, or a path such as "/jobs"'),
    ("[web]\nbase_path = '/'", "web.base_path", "no / at its end, no . or ..; not '/'"),
    ("[web]\nbase_path = '/jobs/'", "web.base_path", "no / at its end"),
    ("[web]\nbase_path = '//jobs'", "web.base_path", "not '//jobs'"),
    ("[web]\nbase_path = '/a/../b'", "web.base_path", "no . or .."),
    ("[web]\nbase_path = '/.'", "web.base_path", "no . or .."),
    ("[web]\nbase_path = '/a b'", "web.base_path", "letters, digits, -, ., _ and ~"),
    ("[web]\nbase_path = '/a%2Fb'", "web.base_path", "not '/a%2Fb'"),
    ("[web]\nbase_path = '/jöbs'", "web.base_path", "not '/jöbs'"),
    ('[web]\nbase_path = "/jobs\\n"', "web.base_path", "such as"),
    (f"[web]\nbase_path = '/{'a' * 200}'", "web.base_path", "at most 200 characters"),
    ("[web]\nbase_path = 8", "web.base_path", "must be text, not 8"),
    ("[web]\nper_page = 0", "web.per_page", "greater than or equal to 1"),
    ("[web]\nper_page = 101", "web.per_page", "less than or equal to 100"),
    ("[access]\nsubmit = 'alice'", "access.submit", "must be a list, not 'alice'"),
    ("[access]\nread = [1000]", "access.read[0]", "must be text"),
    ("[access]\nmanage = ['@']", "access.manage[0]", 'a user such as "alice" or a group such as "@ops"'),
    ("[access]\nmanage = ['a b']", "access.manage[0]", "not 'a b'"),
    ("[hosts]\nname = ''", "hosts.name", "must be a host's name"),
    ("[hosts]\nname = 'web 1'", "hosts.name", "without blanks, not 'web 1'"),
    ("[hosts]\nbeat = '50ms'", "hosts.beat", "at least 0.1 s"),
    ("[hosts]\nlost_after = '19s'", "hosts.lost_after", "at least four times beat, 20 s"),
    ("[hosts]\nlost_after = true", "hosts.lost_after", "must be a time"),
    ("[hosts]\noutputs = false", "hosts.outputs", "must be a size"),
    ("[retention]\nlogs = true", "retention.logs", "must be a time"),
    ("[retention]\nlogs = 0", "retention.logs", "above 0"),
    ("[approved]\nExampleJob = {}", "approved.ExampleJob", "must be a class with its module, in quotes"),
    ("[approved]\nmyapp.jobs.ExampleJob = {}", "approved.myapp", "in quotes"),
    ("[approved]\n'myapp.class.Job' = {}", 'approved."myapp.class.Job"', "not 'myapp.class.Job'"),
    ("[approved]\n'a..B' = {}", 'approved."a..B"', 'such as "myapp.jobs.ExampleJob"'),
    ("[approved]\n'a.B' = true", 'approved."a.B"', "must be a table"),
    ("[approved]\n'a.B' = { nosuch = 1 }", 'approved."a.B".nosuch', "allowed here: methods, queue"),
    ("[approved]\n'a.B' = { timeout = 0 }", 'approved."a.B".timeout', "above 0"),
    ("[approved]\n'a.B' = { methods = [] }", 'approved."a.B".methods', "must name at least one"),
    ("[approved]\n'a.B' = { methods = ['_x'] }", 'approved."a.B".methods[0]', "without a leading underscore"),
    ("[approved]\n'a.B' = { methods = ['x-y'] }", 'approved."a.B".methods[0]', "not 'x-y'"),
    ("[approved]\n'a.B' = { queue = 'mail' }", 'approved."a.B".queue', "a queue of [queues] (default), not"),
    ("[approved]\n'a.B' = { max_retries = 101 }", 'approved."a.B".max_retries', "cap of [retry], 100"),
    ("[approved]\n'a.B' = { crashes = 1 }", 'approved."a.B".crashes', "from 2 to 100, or false, not 1"),
    ("[approved]\n'a.B' = { crashes = 0 }", 'approved."a.B".crashes', "from 2 to 100, or false, not 0"),
    ("[retry]\ncrashes = true", "retry.crashes", "from 2 to 100, or false, not true"),
    ("[retry]\ncrashes = 101", "retry.crashes", "from 2 to 100, or false, not 101"),
    ("[retry]\ncrashes = '3'", "retry.crashes", "from 2 to 100, or false"),
    (
        "[approved]\n'a.B' = { retry_on = ['completed'] }",
        'approved."a.B".retry_on[0]',
        "must be one of cpu_exceeded",
    ),
    ("[approved]\n'a.B' = { retry_on = [1] }", 'approved."a.B".retry_on[0]', "not 1"),
    (
        "[approved]\n'a.B' = { retry_on = ['lost'], retry_lost = false }",
        'approved."a.B".retry_on',
        "must not name lost where retry_lost = false",
    ),
    (
        "[approved]\n'a.B' = { unique = ['token'], sensitive = ['token'] }",
        'approved."a.B".sensitive',
        "must not name token, which unique does",
    ),
    (
        "[approved]\n'a.B' = { unknown = 'review' }",
        'approved."a.B".unknown',
        "must have retry_lost = false beside it: else what is lost runs again, and nobody is asked what it did",
    ),
    (
        "[approved]\n'a.B' = { unknown = 'review', retry_lost = true }",
        'approved."a.B".unknown',
        "must have retry_lost = false beside it",
    ),
    (
        "[approved]\n'a.B' = { unknown = 'lost' }",
        'approved."a.B".unknown',
        "must be 'failed' or 'review', not 'lost'",
    ),
    ("[approved]\n'a.B' = { throttle = 'no' }", 'approved."a.B".throttle', "must be true or false"),
    ("[approved]\n'a.B' = { unique = [] }", 'approved."a.B".unique', "must name at least one"),
    ("[approved]\n'a.B' = { writable = ['mail'] }", 'approved."a.B".writable[0]', "must be an absolute path"),
    ("[approved]\n'a.B' = { user = '@ops' }", 'approved."a.B".user', "must be a name or a number in quotes"),
    ("[approved]\n'a.B' = { user = 33 }", 'approved."a.B".user', "must be text, not 33"),
    ("[approved]\n'a.B' = { sensitive = [''] }", 'approved."a.B".sensitive[0]', "not empty"),
    (
        "[approved]\n'a.B' = { umask = 22 }",
        'approved."a.B".umask',
        'three octal digits in quotes, such as "022", not 22',
    ),
    ("[approved]\n'a.B' = { umask = '088' }", 'approved."a.B".umask', "three octal digits"),
    ("[approved]\n'a.B' = { slots = 0 }", 'approved."a.B".slots', "greater than or equal to 1"),
    (
        "[approved]\n'a.B' = { priority = 9223372036854775808 }",
        'approved."a.B".priority',
        "less than or equal to 9223372036854775807",
    ),
]


@pytest.mark.parametrize(("text", "key", "part"), BAD_VALUES, ids=[text for text, _, _ in BAD_VALUES])
def test_a_bad_value_is_refused_with_its_file_its_key_and_what_is_allowed(
    tmp_path: Path, text: str, key: str, part: str
) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.where == str(tmp_path / "bgjobd.toml")
    assert problem.key == key
    assert part in problem.message


def test_six_faults_of_one_file_are_all_told_one_a_line(tmp_path: Path) -> None:
    text = """
    [daemon]
    state_dir = 3
    [retry]
    max_retries = 200
    [queues]
    mail = { slots = 0 }
    [web]
    bind = "0.0.0.0:80"
    nosuch = 1
    [approved]
    "myapp.jobs.ExampleJob" = { queue = "post" }
    """
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert {problem.key for problem in caught.value.problems} == {
        "daemon.state_dir",
        "retry.max_retries",
        "queues.mail.slots",
        "web.bind",
        "web.nosuch",
        'approved."myapp.jobs.ExampleJob".queue',
    }
    lines = str(caught.value).splitlines()
    assert len(lines) == 6
    assert lines[0] == f"{tmp_path}/bgjobd.toml: daemon.state_dir: must be a path, not 3"


def test_faults_of_file_and_environment_are_told_together(tmp_path: Path) -> None:
    environ = {"HOME": "/", "BGJOBD_RETRY__CAP": "many", "BGJOBD_NOSUCH__X": "1"}
    found = problems(tmp_path, "[web]\nper_page = 0", environ)
    assert {(problem.where, problem.key) for problem in found} == {
        (str(tmp_path / "bgjobd.toml"), "web.per_page"),
        ("BGJOBD_RETRY__CAP", "retry.cap"),
        ("BGJOBD_NOSUCH__X", "nosuch"),
    }


def test_a_value_that_is_refused_is_quoted_shortly_and_on_one_line(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, '[log]\nlevel = "' + "x\\n" * 1000 + '"')
    assert len(str(problem)) < 300
    assert "\n" not in str(problem)


@pytest.mark.parametrize(
    "env", ['{ TOKEN = ["hunter2"] }', '{ TOKEN = { a = "hunter2" } }', '"hunter2"', '["hunter2"]']
)
def test_variables_for_jobs_are_not_quoted_for_they_may_be_secrets(tmp_path: Path, env: str) -> None:
    (problem,) = problems(tmp_path, f"[app]\nenv = {env}")
    assert problem.key.startswith("app.env")
    assert problem.message in ("must be text", "must be a table")
    typed_wrong = {"HOME": "/", "BGJOBD_APP__ENV": '{"TOKEN": hunter2'}
    (problem,) = problems(tmp_path, "", typed_wrong)
    assert problem.message == "must be a table"


def test_attempts_find_their_daemon_where_their_environment_names_no_other(tmp_path: Path) -> None:
    socket = f"[daemon]\nsocket = '{tmp_path}/s.sock'\n"
    for env, found in (("{ A = 'b' }", f"{tmp_path}/s.sock"), ("{ BGJOBD_SOCKET = '/other' }", "/other")):
        application = Application.from_config(loaded(tmp_path, f"{socket}[app]\nenv = {env}"))
        assert application.env["BGJOBD_SOCKET"] == found


def test_a_value_of_the_environment_with_a_nul_is_not_quoted_for_it_may_be_a_secret(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, '[app]\nenv = { TOKEN = "se\\u0000cret" }')
    assert "cret" not in str(problem)


# Which file


def test_the_file_named_on_the_command_line_comes_first(tmp_path: Path, system_file: Path) -> None:
    named, other = tmp_path / "named.toml", tmp_path / "other.toml"
    named.write_text("[retry]\ncap = 11")
    other.write_text("[retry]\ncap = 12")
    system_file.write_text("[retry]\ncap = 13")
    made = load(named, {"BGJOBD_CONFIG": str(other)}, is_root=False)
    assert (made.file, made.retry.cap) == (named, 11)


def test_the_file_named_by_the_environment_comes_before_the_usual_ones(
    tmp_path: Path, system_file: Path
) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[retry]\ncap = 12")
    system_file.write_text("[retry]\ncap = 13")
    assert load(None, {"BGJOBD_CONFIG": str(other)}, is_root=True).file == other


def test_the_systems_file_comes_before_the_persons(tmp_path: Path, system_file: Path) -> None:
    own = tmp_path / "xdg" / "bgjobd" / "bgjobd.toml"
    own.parent.mkdir(parents=True)
    own.write_text("")
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert load(None, environ, is_root=False).file == own
    system_file.write_text("")
    assert load(None, environ, is_root=False).file == system_file


def test_the_persons_file_is_looked_for_in_the_home_directory(tmp_path: Path) -> None:
    own = tmp_path / ".config" / "bgjobd" / "bgjobd.toml"
    own.parent.mkdir(parents=True)
    own.write_text("")
    assert load(None, {"HOME": str(tmp_path)}, is_root=False).file == own


@pytest.mark.parametrize("named_by", ["command line", "environment"])
def test_a_named_file_that_is_missing_is_an_error_that_names_it(tmp_path: Path, named_by: str) -> None:
    file = tmp_path / "missing.toml"
    path, environ = (file, {}) if named_by == "command line" else (None, {"BGJOBD_CONFIG": str(file)})
    with pytest.raises(ConfigError) as caught:
        load(path, environ, is_root=False)
    assert str(caught.value) == f"{file}: cannot be read: No such file or directory"


def test_a_directory_for_a_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {}, is_root=False)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"[retry]\ncap = = 3\n", "is not TOML: Invalid value (at line 2, column 7)"),
        (b"[retry]\n\ncap = [1,\n", "is not TOML: Invalid value (at line 3, the end of the document)"),
        (b"[retry]\ncap = 1\ncap = 2\n", "at line 3"),
        (b"[retry]\n# caf\xe9\n", "is not UTF-8 (at line 2)"),
        (b"cap = " + b"9" * 5000, "is not TOML"),
        (b"cap = " + b"[" * 100_000, "is not TOML"),
    ],
)
def test_a_file_that_is_no_toml_is_an_error_with_the_line(tmp_path: Path, content: bytes, part: str) -> None:
    file = tmp_path / "bgjobd.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(file, {}, is_root=False)
    (problem,) = caught.value.problems
    assert problem.where == str(file)
    assert part in problem.message


# The environment


def test_a_variable_overrides_the_file(tmp_path: Path) -> None:
    environ = {"BGJOBD_RETRY__MAX_RETRIES": "7", "BGJOBD_LOG__CONSOLE": "none"}
    made = loaded(tmp_path, '[retry]\nmax_retries = 1\ncap = 9\n[log]\nconsole = "json"', environ)
    assert (made.retry.max_retries, made.retry.cap, made.log.console) == (7, 9, "none")


@pytest.mark.parametrize(
    ("variable", "value", "section", "key", "expected"),
    [
        ("BGJOBD_DAEMON__DRAIN", "true", "daemon", "drain", True),
        ("BGJOBD_DAEMON__SOCKET", "unix:/run/y.sock", "daemon", "socket", Path("/run/y.sock")),
        ("BGJOBD_SOCKET__MAX_FRAME", "2M", "socket", "max_frame", 2 * 2**20),
        ("BGJOBD_SOCKET__FRAME_TIMEOUT", "2.5", "socket", "frame_timeout", 2.5),
        ("BGJOBD_APP__PYTHON", "3", "app", "python", "3"),
        ("BGJOBD_APP__PATH", '["/a", "/b"]', "app", "path", (Path("/a"), Path("/b"))),
        ("BGJOBD_APP__ENV", '{"A": "1"}', "app", "env", {"A": "1"}),
        ("BGJOBD_APP__ENV__Name", "5", "app", "env", {"Name": "5"}),
        ("BGJOBD_LIMITS__MEMORY", "256M", "limits", "memory", 2**28),
        ("BGJOBD_LIMITS__MAX_OUTPUT", "false", "limits", "max_output", None),
        ("BGJOBD_LIMITS__MAX_OUTPUT", "null", "limits", "max_output", None),
        ("BGJOBD_LIMITS__NICE", '"5"', "limits", "nice", 5),
        ("BGJOBD_RETRY__BACKOFF", "exponential", "retry", "backoff", Backoff.EXPONENTIAL),
        ("BGJOBD_WEB__BIND", "127.0.0.1:80", "web", "bind", TcpAddress("127.0.0.1", 80)),
        ("BGJOBD_ACCESS__SUBMIT", '["alice", "@ops"]', "access", "submit", ("alice", "@ops")),
        ("BGJOBD_RETENTION__LOGS", "5d", "retention", "logs", 432000.0),
        ("BGJOBD_retry__Cap", "50", "retry", "cap", 50),
    ],
)
def test_a_value_of_a_variable_is_json_or_text_as_its_key_needs(
    variable: str, value: str, section: str, key: str, expected: object
) -> None:
    made = load(None, {variable: value}, is_root=True)
    assert getattr(getattr(made, section), key) == expected


def test_a_variable_reaches_into_a_queue() -> None:
    made = load(None, {"BGJOBD_QUEUES__MAIL__SLOTS": "2"}, is_root=True)
    assert made.queues == {"default": Queue(), "mail": Queue(slots=2)}


def test_a_variable_finds_a_queue_however_the_file_spells_it(tmp_path: Path) -> None:
    made = loaded(tmp_path, "[queues.Mail]\nmax_pending = 5", {"BGJOBD_QUEUES__MAIL__SLOTS": "2"})
    assert made.queues == {"default": Queue(), "Mail": Queue(slots=2, max_pending=5)}


def test_a_queue_that_a_variable_made_can_be_used_by_a_class(tmp_path: Path) -> None:
    made = loaded(tmp_path, "[approved]\n'a.B' = { queue = 'mail' }", {"BGJOBD_QUEUES__MAIL": "{}"})
    assert made.approved["a.B"].queue == "mail"


def test_a_cap_that_a_variable_set_holds_for_the_classes_of_the_file(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "[approved]\n'a.B' = { max_retries = 5 }", {"BGJOBD_RETRY__CAP": "4"})
    assert (problem.key, "cap of [retry], 4" in problem.message) == ('approved."a.B".max_retries', True)


def test_names_without_two_underscores_and_names_of_others_are_no_overrides() -> None:
    environ = {"BGJOBD_SOCKET": "/run/z.sock", "BGJOBD_DEBUG": "x", "BGJOBD__X": "y", "OTHER__X": "z"}
    assert load(None, environ, is_root=True) == load(None, {}, is_root=True)


@pytest.mark.parametrize(
    ("variable", "value", "key", "part"),
    [
        ("BGJOBD_NOSUCH__X", "1", "nosuch", "there is no such key"),
        ("BGJOBD_RETRY__NOSUCH", "1", "retry.nosuch", "there is no such key; allowed here: cap"),
        (
            "BGJOBD_QUEUES__MAIL__SLOT",
            "1",
            "queues.mail.slot",
            "no such key; did you mean slots? allowed here: slots",
        ),
        ("BGJOBD_RETRY__CAP__DEEPER", "1", "retry.cap", "must be a whole number"),
        ("BGJOBD_RETRY__CAP", "", "retry.cap", "must be a whole number, not ''"),
        ("BGJOBD_DAEMON__DRAIN", "yes", "daemon.drain", "must be true or false, not 'yes'"),
        ("BGJOBD_APP__PATH", "/srv", "app.path", "must be a list, not '/srv'"),
        ("BGJOBD_ACCESS__READ", '["a", "b c"]', "access.read[1]", "not 'b c'"),
        ("BGJOBD_SOCKET__FRAME_TIMEOUT", "Infinity", "socket.frame_timeout", "not inf"),
        ("BGJOBD_RETRY__CAP", "9" * 5000, "retry.cap", "must be a whole number"),
        ("BGJOBD_QUEUES__MAIL__SLOTS", "[" * 100_000, "queues.mail.slots", "must be a whole number"),
        ("BGJOBD_APPROVED__JOB__TIMEOUT", "5", "approved.JOB", "must be a class with its module"),
    ],
)
def test_a_bad_variable_is_refused_by_its_own_name(variable: str, value: str, key: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {variable: value}, is_root=True)
    (problem,) = caught.value.problems
    assert (problem.where, problem.key) == (variable, key)
    assert part in problem.message


def test_a_variable_does_not_hide_a_value_where_a_table_should_be(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "retry = 5", {"BGJOBD_RETRY__CAP": "4"})
    assert (problem.where, problem.key) == (str(tmp_path / "bgjobd.toml"), "retry")


# Where things are


def places(made: Config) -> tuple[str, str, str, str]:
    daemon = made.daemon
    return str(daemon.socket), str(daemon.state_dir), str(daemon.runtime_dir), str(daemon.log_dir)


def test_root_lives_in_the_systems_directories() -> None:
    made = load(None, {"HOME": "/root", "XDG_RUNTIME_DIR": "/run/user/0"}, is_root=True)
    assert places(made) == ("/run/bgjobd.sock", "/var/lib/bgjobd", "/run/bgjobd", "/var/log/bgjobd")


def test_a_person_lives_in_the_xdg_directories() -> None:
    environ = {"HOME": "/home/a", "XDG_RUNTIME_DIR": "/run/user/7", "XDG_STATE_HOME": "/home/a/state"}
    assert places(load(None, environ, is_root=False)) == (
        "/run/user/7/bgjobd.sock",
        "/home/a/state/bgjobd",
        "/run/user/7/bgjobd",
        "/home/a/state/bgjobd/log",
    )


@pytest.mark.parametrize("runtime_dir", [{}, {"XDG_RUNTIME_DIR": ""}, {"XDG_RUNTIME_DIR": "relative"}])
def test_a_person_without_a_runtime_directory_lives_in_tmp(runtime_dir: dict[str, str]) -> None:
    own = f"/tmp/bgjobd-{os.getuid()}"
    assert places(load(None, {"HOME": "/home/a"} | runtime_dir, is_root=False)) == (
        f"{own}.sock",
        "/home/a/.local/state/bgjobd",
        own,
        "/home/a/.local/state/bgjobd/log",
    )


@pytest.mark.parametrize("is_root", [True, False])
def test_the_directories_of_systemd_come_before_the_usual_ones(is_root: bool) -> None:
    environ = {
        "HOME": "/home/a",
        "STATE_DIRECTORY": "/var/lib/one:/var/lib/two",
        "RUNTIME_DIRECTORY": "/run/one",
        "LOGS_DIRECTORY": "/var/log/one",
    }
    assert places(load(None, environ, is_root=is_root))[1:] == ("/var/lib/one", "/run/one", "/var/log/one")


def test_a_directory_of_the_file_comes_before_those_of_systemd(tmp_path: Path) -> None:
    made = loaded(tmp_path, "[daemon]\nstate_dir = '/srv/state'", {"STATE_DIRECTORY": "/var/lib/one"})
    assert made.daemon.state_dir == Path("/srv/state")


def test_a_persons_logs_follow_the_state_directory_wherever_it_was_put(tmp_path: Path) -> None:
    assert loaded(tmp_path, "[daemon]\nstate_dir = '/srv/state'").daemon.log_dir == Path("/srv/state/log")


def test_relative_paths_of_a_file_count_from_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
    [daemon]
    socket = "unix:s.sock"
    fifo = "fifo"
    state_dir = "state"
    [app]
    python = "venv/bin/python"
    path = ["src", "/abs"]
    [web]
    bind = "unix:web.sock"
    """
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "bgjobd.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    made = load(Path("conf/bgjobd.toml"), {}, is_root=True)
    conf = tmp_path / "conf"
    assert made.file == conf / "bgjobd.toml"
    assert (made.daemon.socket, made.daemon.fifo) == (conf / "s.sock", conf / "fifo")
    assert made.daemon.state_dir == conf / "state"
    assert (made.app.python, made.app.path) == (str(conf / "venv/bin/python"), (conf / "src", Path("/abs")))
    assert made.web.bind == UnixAddress(conf / "web.sock")


def test_relative_paths_of_a_variable_count_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf").mkdir()
    monkeypatch.chdir(tmp_path)
    made = loaded(tmp_path / "conf", "[daemon]\nfifo = 'fifo'", {"BGJOBD_DAEMON__STATE_DIR": "state"})
    assert made.daemon.state_dir == tmp_path / "state"
    assert made.daemon.fifo == tmp_path / "conf" / "fifo"


def test_a_command_name_for_the_interpreter_stays_a_name(tmp_path: Path) -> None:
    assert loaded(tmp_path, "[app]\npython = 'python3.12'").app.python == "python3.12"


def test_a_usual_socket_that_is_too_long_is_a_problem_of_the_defaults() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {"XDG_RUNTIME_DIR": "/" + "r" * 100}, is_root=False)
    (problem,) = caught.value.problems
    assert (problem.where, problem.key) == ("defaults", "daemon.socket")
    assert "has 113" in problem.message


def test_a_socket_of_exactly_the_longest_path_is_taken(tmp_path: Path) -> None:
    longest = "/" + "s" * 106
    assert loaded(tmp_path, f"[daemon]\nsocket = '{longest}'").daemon.socket == Path(longest)
