"""In which order a process is asked where it is: as the kernel's view of it says, which the core is told as values."""

from __future__ import annotations

import pytest

from bgjobd.core.looking import Seen, Way, order, why_silent

ASK, INSIST = Way.ASK, Way.INSIST
NOBODY: frozenset[Way] = frozenset()


@pytest.mark.parametrize(
    "function",
    [
        *("futex_wait_queue", "futex_do_wait", "futex_wait_queue_me"),
        *("poll_schedule_timeout.constprop.0", "do_sys_poll", "do_select", "do_epoll_wait", "ep_poll"),
        *("hrtimer_nanosleep", "do_nanosleep", "common_nsleep", "do_wait", "kernel_wait4"),
    ],
)
def test_what_goes_on_after_a_signal_is_asked_by_python_first(function: str) -> None:
    assert order(Seen("S", function), insist=False) == (ASK, INSIST)


@pytest.mark.parametrize(
    "function",
    [
        "anon_pipe_read",
        "pipe_read",
        "unix_stream_read_generic",
        "wait_woken",
        "inet_csk_accept",
        None,
        "new_wait",
    ],
)
def test_what_may_be_a_read_is_asked_by_c_alone_unless_one_insists(function: str | None) -> None:
    assert order(Seen("S", function), insist=False) == (INSIST,)
    assert order(Seen("S", function), insist=True) == (ASK, INSIST)


@pytest.mark.parametrize("function", ["__do_sys_pause", "__x64_sys_pause", "sigsuspend"])
def test_who_waits_for_a_signal_gets_none_unless_one_insists(function: str) -> None:
    assert order(Seen("S", function), insist=False) == ()
    assert order(Seen("S", function), insist=True) == (ASK, INSIST)


def test_who_runs_is_asked_by_python_first() -> None:
    assert order(Seen("R"), insist=False) == (ASK, INSIST)


@pytest.mark.parametrize(
    "seen",
    [
        Seen("R", hears=frozenset({INSIST})),
        Seen("R", blocks=frozenset({ASK})),
        Seen("R", own=frozenset({ASK})),
    ],
)
def test_of_who_runs_c_is_not_asked_unless_python_was_or_one_insists(seen: Seen) -> None:
    assert order(seen, insist=False) == ()
    assert order(seen, insist=True) == (INSIST,)


@pytest.mark.parametrize("state", ["D", "T", "t", "Z", "X", "I"])
def test_who_would_not_come_to_it_is_not_asked(state: str) -> None:
    assert order(Seen(state, "futex_do_wait"), insist=True) == ()


@pytest.mark.parametrize(
    ("seen", "then"),
    [
        (Seen("R", hears=NOBODY), ()),
        (Seen("R", hears=frozenset({INSIST})), (INSIST,)),
        (Seen("R", blocks=frozenset(Way)), ()),
        (Seen("R", blocks=frozenset({ASK})), (INSIST,)),
        (Seen("R", own=frozenset({ASK})), (INSIST,)),
        (Seen("R", own=frozenset({INSIST})), (ASK,)),
    ],
)
def test_no_signal_goes_where_no_handler_of_ours_hears_it(seen: Seen, then: tuple[Way, ...]) -> None:
    assert order(seen, insist=True) == then


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (Seen("S", hears=NOBODY, program="/bin/sleep"), "it runs another program: /bin/sleep"),
        (Seen("D", "folio_wait_bit_common"), "it waits in the kernel (state D)"),
        (Seen("T"), "it is stopped (state T)"),
        (Seen("Z"), "it has ended"),
        (Seen("R", blocks=frozenset(Way)), "it blocks the signal"),
        (Seen("R", own=frozenset({ASK})), "the application handles SIGWINCH itself"),
        (Seen("R", hears=NOBODY), "it has taken the handlers away"),
        (Seen("S", "pipe_read"), "to ask it for more might end the call that it waits in"),
        (Seen("S", "futex_do_wait"), None),
    ],
)
def test_who_does_not_tell_is_told_of_with_the_reason(seen: Seen, sentence: str | None) -> None:
    assert why_silent(seen, insist=False) == sentence
