"""`bgjob completion`: the script with which a shell completes the words of `bgjob`, and what it asks a daemon for."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Final

from bgjob.client import Client
from bgjob.commands import screen
from bgjob.commands.problems import OK, UNAVAILABLE
from bgjob.errors import BgjobError

SHELLS: Final = ("bash", "zsh", "fish")

_PATIENCE: Final = 0.3
"""Seconds that a person does not mind to wait for words, the start of the process included."""

_LEAST: Final = 0.05
"""Seconds that a daemon has to answer at least."""

_NEWEST: Final = 50
_MOST_LABELS: Final = 200
_WORD: Final = re.compile(r"[\w.:-]+")
"""Nothing that a shell would take for more than a word, whoever answers."""


def completion(client: Client, given: argparse.Namespace) -> int:
    """Print the script that completes the words of bgjob in a shell."""
    try:
        import shtab
    except ModuleNotFoundError:  # the client is installed alone
        screen.say("completion needs shtab; pip install shtab brings it")
        return UNAVAILABLE
    script = shtab.complete(given.parser, shell=given.shell, preamble=_FUNCTIONS[given.shell])
    for written, meant in _MENDED.get(given.shell, ()):
        script = script.replace(written, meant)
    sys.stdout.write(f"{script.rstrip()}\n{_ENDS.get(given.shell, '')}")
    return OK


def asking_for(action: argparse.Action, kind: str) -> None:
    """Have the scripts complete the value of this option or argument by words of this kind."""
    if kind not in KINDS:
        raise ValueError(f"no kind of words {kind!r}")
    complete = {"bash": f"_bgjob_{kind}", "zsh": f"_bgjob_words {kind}", "fish": f"(_bgjob_words {kind})"}
    action.complete = complete  # type: ignore[attr-defined]  # it is shtab's


def words(kind: str, line: Sequence[str]) -> list[str]:
    """The words of this kind that the daemon knows; none where there is no daemon, or it takes too long.

    `line` is what stands on the command line so far: it may name the daemon's socket.
    """
    ask = KINDS.get(kind)
    if ask is None:
        return []
    timeout = max(_LEAST, _PATIENCE - time.process_time())
    try:
        with Client(_address(line), timeout=timeout) as client:
            return [word for word in ask(client) if _WORD.fullmatch(word)]
    except BgjobError:
        return []


def _address(line: Sequence[str]) -> str | None:
    """The value of --socket on the line, if it is there."""
    for word, following in zip_longest(line, line[1:], fillvalue=""):
        option, separator, value = word.partition("=")
        if option == "--socket":
            return os.path.expanduser((value if separator else following).strip("'\"")) or None
    return None


def _classes(client: Client) -> Iterable[str]:
    return (one["name"] for one in client.classes())


def _methods(client: Client) -> Iterable[str]:
    return (f"{one['name']}::{method['name']}" for one in client.classes() for method in one["methods"])


def _classes_and_methods(client: Client) -> Iterable[str]:
    return [*_classes(client), *_methods(client)]


def _queues(client: Client) -> Iterable[str]:
    return (queue["name"] for queue in client.stats()["queues"])


def _schedules(client: Client) -> Iterable[str]:
    return (schedule["name"] for schedule in client.schedules(next=0))


def _groups(client: Client) -> Iterable[str]:
    return (str(group["id"]) for group in client.groups(limit=_NEWEST).items)


def _labels(client: Client) -> Iterable[str]:
    return (one["label"] for one in client.labels(limit=_MOST_LABELS).items)


def _errors(client: Client) -> Iterable[str]:
    return (str(error["id"]) for error in client.errors(limit=_NEWEST).items)


def _hosts(client: Client) -> Iterable[str]:
    return (host["name"] for host in client.hosts())


def _alerts(client: Client) -> Iterable[str]:
    return (str(alert["id"]) for alert in client.alerts(is_open=True, limit=_NEWEST).items)


def _jobs(*status: str) -> Callable[[Client], Iterable[str]]:
    return lambda client: (str(job["id"]) for job in client.list(status=status or None, limit=_NEWEST).items)


KINDS: Final[Mapping[str, Callable[[Client], Iterable[str]]]] = {
    "classes": _classes,
    "methods": _methods,
    "filters": _classes_and_methods,
    "queues": _queues,
    "schedules": _schedules,
    "groups": _groups,
    "labels": _labels,
    "errors": _errors,
    "hosts": _hosts,
    "alerts": _alerts,
    "jobs": _jobs(),
    "open_jobs": _jobs("pending", "running"),
    "ended_jobs": _jobs("failed", "cancelled"),
    "jobs_for_review": _jobs("review"),
}
"""What is asked of a daemon, by the names that the scripts have for it."""


# The scripts' own functions. `command`, for a person may have a function or an alias of that name.

_BASH: Final = "\n".join(
    [
        """\
_bgjob_words() {
  local word
  while IFS= read -r word; do
    [[ $word == "$2"* ]] && printf '%s\\n' "$word"
  done < <(command bgjob completion --words "$1" "${COMP_WORDS[@]}" 2>/dev/null </dev/null)
}""",
        *(f'_bgjob_{kind}() {{ _bgjob_words {kind} "$1"; }}' for kind in KINDS),
    ]
)

_BASH_END: Final = """
# bash cuts what is written at each : and =, which shtab knows nothing of: CLASS::METHOD is put together again, and
# an option's value stands by itself.
_bgjob() {
  local -a cut=("${COMP_WORDS[@]}") COMP_WORDS=()
  local at=$COMP_CWORD COMP_CWORD=-1 index word goes_on=0
  for index in "${!cut[@]}"; do
    word=${cut[index]}
    if [[ $word == = ]]; then
      (( index == at )) && word= || continue
    fi
    if (( COMP_CWORD > 0 )) && [[ $word == :* || $goes_on == 1 ]]; then
      COMP_WORDS[COMP_CWORD]+=$word
    else
      (( COMP_CWORD += 1 ))
      COMP_WORDS+=("$word")
    fi
    [[ $word == *: ]] && goes_on=1 || goes_on=0
    (( index == at )) && break
  done
  _shtab_bgjob
  # What stands before the last colon is not replaced by what is completed.
  word=${COMP_WORDS[COMP_CWORD]}
  [[ $word == *:* && $COMP_WORDBREAKS == *:* ]] || return 0
  word=${word%"${word##*:}"}
  COMPREPLY=("${COMPREPLY[@]#"$word"}")
}

complete -o bashdefault -F _bgjob bgjob
"""

_ZSH: Final = """\
_bgjob_words() {
  local -a told
  told=(${(f)"$(command bgjob completion --words $argv[-1] ${(z)LBUFFER} 2>/dev/null </dev/null)"})
  (( $#told )) && compadd "${@[1,-2]}" -a told
}"""

_FISH: Final = """\
function _bgjob_words
  command bgjob completion --words $argv[1] (commandline -opc) 2>/dev/null </dev/null
end"""

_FUNCTIONS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
_ENDS: Final = {"bash": _BASH_END}

_MENDED: Final = {
    "zsh": [
        ('"(*):of a job:', '"*:of a job:'),  # the second and the third, too
        ('"(*)::of a job:', '"*:of a job:'),  # the same where there may be none
        (":CLASS[::METHOD]:", r":CLASS[\:\:METHOD]:"),  # a colon ends the name of the value
    ]
}
"""What shtab writes for a shell, and what it ought to write."""
