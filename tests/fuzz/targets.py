"""The table of targets: name, what is fed, and the tokens of its language."""

from __future__ import annotations

from bgjob import shapes
from bgjobd.api import methods
from tests.fuzz import client, files, page, protocol
from tests.fuzz.protocol import PARTS
from tests.fuzz.target import Target
from tests.page.serving import TOKEN

_JSON = (
    b'{', b'}', b'[', b']', b'":', b',"', b'null', b'true', b'false', b'""', b'1e999', b'-0', b'1.5',
    b'9223372036854775808', b'-9223372036854775809', b'18446744073709551616', b'\\u0000', b'\\ud800',
    b'\\udfff', b'\\"', b'NaN', b'Infinity', b'{}', b'[[', b']]', b'\xff', b'\xe2\x80\xae', b'\xef\xbb\xbf',
)  # fmt: skip
_FRAMES = (
    *_JSON, b'\0', b'\0\0', b'"method":', b'"parameters":', b'"more":true', b'"oneway":true',
    b'"upgrade":true', b'"continues":true', b'"error":"', b'org.varlink.service.', b'GetInfo',
    b'org.bgjobd.Jobs.',
)  # fmt: skip
_FIELDS = tuple(
    f'"{name}":'.encode()
    for name in sorted(
        {
            name
            for shape in (
                *(shape for shape, _ in (*methods._TABLE.values(), *methods._STREAMS.values())),
                *PARTS,
            )
            for name in shape.model_fields
        }
    )
)
_METHODS = tuple(f"org.bgjobd.Jobs.{name}".encode() for name in (*methods._TABLE, *methods._STREAMS))
_ANSWERED = (
    *(
        f'"{name}":'.encode()
        for name in (
            *(
                "job",
                "jobs",
                "id",
                "ids",
                "status",
                "attempts",
                "entries",
                "next",
                "total",
                "is_complete",
                "data",
            ),
            *(
                "number",
                "left_out",
                "offset",
                "is_end",
                "result",
                "error",
                "problems",
                "path",
                "message",
                "queues",
            ),
            *("sentence", "minutes", "oldest_pending", "code_version", "started_at", "storage_trouble"),
        )
    ),
    *(b'"completed"', b'"failed"', b'"cancelled"', b'"pending"'),
    *(b"InvalidParameters", b"InvalidParameter", b"JobNotFound"),
)
_TOLD = (
    *(
        f'"{name}":'.encode()
        for name in sorted({name for shape in shapes.SHAPES for name in shapes.fields_of(shape)})
    ),
    *(b'"2024-12-04T14:31:53Z"', b'"0001-01-01T00:00:00"', b'"9999-12-31T23:59:59-23:59"', b"\\u001b[2J"),
)
_JOURNAL = (
    *_JSON, b'\n', b'\n{"v":1,"type":"', b'started"', b'fenced"', b'outcome"', b'exit"', b'log"',
    b'progress"', b'"pid":1', b'"at":', b'"code":', b'"signal":', b'"usage":', b'"exceeded":', b'"delay":',
    b'"result":', b'"limit":', b'"used":', b'"most":', b'"fraction":', b'"own_cpu":', b'"strays":',
    b'"error_class":', b'"throttles":', b'"class"',
    b'began"', b'step"', b'left"', b'"suspended"', b'"name":', b'"names":', b'"is_awaited":', b'"kind":',
    b'"turn":', b'"until":', b'"sleep"', b'"signal"',
    b'!symlink ', b'!directory', b'!fifo', b'!sparse ', b'/dev/zero', b'/etc/passwd',
)  # fmt: skip
_TOML = (
    b'[daemon]', b'[socket]', b'[app]', b'[retry]', b'[limits]', b'[queues.mail]', b'[log]', b'[web]',
    b'[access]', b'[retention]', b'[approved."a.B"]', b'[[', b']]', b'=', b'"', b"'", b'"""', b"'''", b'{',
    b'}', b'\n', b'true', b'false', b'nan', b'-inf', b'1979-05-27T07:32:00Z', b'0x', b'1_000', b'"64K"',
    b'"5m"', b'\\u0000', b'\\ud800', b'unix:', b'127.0.0.1:0', b'[::1]:80', b'slots', b'memory', b'methods',
    b'writable', b'retry_on', b'bind', b'BGJOBD_RETRY__CAP=', b'BGJOBD_QUEUES__MAIL__SLOTS=',
    b'BGJOBD_APPROVED__a.B__', b'BGJOBD_', b'__', b'HOME=/', b'STATE_DIRECTORY=', b'XDG_RUNTIME_DIR=',
    b'BGJOBD_APP__ENV__', b'BGJOBD_APP__PATH=["a"]', b'\xff',
)  # fmt: skip
_UNITS = (
    b'K', b'MiB', b'GB', b'T', b'ms', b's', b'h', b'd', b'w', b'36500d', b'9223372036854775807', b'.', b'..',
    b'/', b':', b'unix:', b'@', b'[', b']', b'::1', b'127.0.0.1', b'65535', b'%eth0', b'\0', b'\n', b' ',
    b'_', b'__', b'class', b'=', b'\xc2\xb2', b'\xd9\xa3', b'\xff', b'1e5', b'-1', b'inf', b'nan',
    b'completed', b'lost',
)  # fmt: skip
_HTTP = (
    b'GET ', b'HEAD ', b'POST ', b'OPTIONS ', b' HTTP/1.1\r\n', b' HTTP/1.0\r\n', b' HTTP/2.0\r\n', b'\r\n',
    b'\r\n\r\n', b'\n', b'\r', b': ', b'Host: 127.0.0.1\r\n', b'Host: localhost\r\n', b'Content-Length: ',
    b'Transfer-Encoding: chunked\r\n', b'Expect: 100-continue\r\n', b'Connection: close\r\n',
    b'Accept: application/json\r\n', b'Accept: text/html\r\n', b'Accept-Encoding: gzip\r\n',
    b'If-None-Match: *\r\n', b'Origin: http://127.0.0.1\r\n', b'Sec-Fetch-Site: same-origin\r\n',
    b'Content-Type: application/x-www-form-urlencoded\r\n', f'Authorization: Bearer {TOKEN}\r\n'.encode(),
    f'Cookie: bgjobd_login_80={TOKEN}\r\n'.encode(), b'/jobs/1', b'/jobs', b'/system', b'/metrics',
    b'/events', b'/healthz', b'/login?token=', b'/static/', b'?q=', b'&status=failed', b'&per=25',
    b'&page=2&upto=7', b'?newer_than=', b'/retry', b'/queues/default/pause', b'token=', b'%00', b'%0d%0a',
    b'%2e%2e%2f', b'//', b'\xff', b'%ff', b'application/openmetrics-text;version=1.0.0', b';q=0',
    b'text/plain;version=',
)  # fmt: skip
_TEXT = (
    b'\x1b[2J', b'\x1b]0;', b'\x07', b'\x08', b'\r', b'\n', b'\t', b'\x7f', b'\xc2\x9b', b'\xe2\x80\xae',
    b'\xe2\x81\xa6', b'\xe2\x80\x8d', b'\xef\xb8\x8f', b'\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa',
    b'\xf0\x9f\x91\xa9', b'\xed\xa0\x80', b'\xcc\x81', b'\xe2\x80\xa8', b'\xc2\xa0', b'\xe4\xb8\xad', b'\\',
    b'.', b"'", b'`', b'--all', b'"',
)  # fmt: skip

TARGETS = {
    target.name: target
    for target in (
        Target("codec-server", protocol.codec_as_server, _FRAMES + _FIELDS),
        Target("codec-client", protocol.codec_as_client, _FRAMES),
        Target("inputs", protocol.inputs, _JSON + _FIELDS),
        Target("ipc", protocol.ipc, _FRAMES + _METHODS + _FIELDS),
        Target("fifo", protocol.fifo, (b"\n", b"\n\n", *_JSON, *_FIELDS)),
        Target("link", protocol.link, (b"\0", *_JSON)),
        Target("journal", files.journal, _JOURNAL),
        Target("state", files.state, (*_JSON, b"\0" * 16, b"!fifo\n", b"!directory\n", b"!sparse 999999\n")),
        Target("config", files.config, _TOML),
        Target("values", files.values, _UNITS),
        Target(
            "names",
            files.names,
            (
                b".",
                b"\n",
                b"_",
                b"__class__",
                b".journal",
                b".hook",
                b"1.1",
                b"0",
                b"99999999999999999999",
                b"\xed\xa0\x80",
                b"\xef\xbc\xa1",
            ),
        ),
        Target("http-head", page.http_head, _HTTP),
        Target("http-server", page.http_server, _HTTP),
        Target("addresses", page.addresses, _HTTP + _UNITS),
        Target("answers", client.answers, _FRAMES + _ANSWERED + _TOLD),
        Target("status", client.status, _JSON + _TOLD),
        Target("terminal", client.terminal, _TEXT),
    )
}
