"""The way to the fork server: in the order in which they came, and one that may end it alone."""

from __future__ import annotations

from typing import cast

from bgjobd.supervisor.fork_server_link import ForkServer
from bgjobd.supervisor.starts import Start, Starts

ONE = cast(ForkServer, "one")
ANOTHER = cast(ForkServer, "another")


class Way:
    """Starts, and the names of those that were sent, each with its fork server."""

    def __init__(self, server: ForkServer | None = ONE) -> None:
        self.sent: list[tuple[str, ForkServer]] = []
        self.starts = Starts()
        self.starts.serve_with(server)

    def put(
        self, name: str, crashes: int = 0, is_wanted: bool = True, has_begun: bool | None = None
    ) -> Start:
        def send(server: ForkServer) -> bool:
            self.sent.append((name, server))
            return is_wanted

        start = Start(crashes, send, None if has_begun is None else lambda: has_begun)
        self.starts.put(start)
        return start

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.sent]


def test_innocents_go_at_once_side_by_side() -> None:
    way = Way()
    for name in ("a", "b", "c"):
        way.put(name)
    assert way.sent == [("a", ONE), ("b", ONE), ("c", ONE)]


def test_a_suspect_waits_for_those_on_the_way_and_those_behind_it_for_the_suspect() -> None:
    way = Way()
    first, suspect, behind = way.put("first"), way.put("suspect", crashes=1), way.put("behind")
    assert way.names == ["first"]
    assert way.starts.is_in_line(suspect)
    way.starts.leave(first)
    assert way.names == ["first", "suspect"]
    assert way.starts.is_in_line(behind)
    way.starts.leave(suspect)
    assert way.names == ["first", "suspect", "behind"]


def test_suspects_go_one_after_the_other() -> None:
    way = Way()
    suspects = [way.put(name, crashes=1) for name in ("a", "b", "c")]
    for number, suspect in enumerate(suspects, 1):
        assert way.names == ["a", "b", "c"][:number]
        way.starts.leave(suspect)


def test_who_is_in_line_goes_to_the_next_fork_server_and_what_the_last_one_had_does_not_matter() -> None:
    way = Way()
    way.put("first")
    way.put("suspect", crashes=2)
    way.starts.serve_with(None)
    assert way.names == ["first"]
    way.starts.serve_with(ANOTHER)
    assert way.sent == [("first", ONE), ("suspect", ANOTHER)]


def test_who_leaves_the_line_is_not_sent_and_holds_up_nobody() -> None:
    way = Way()
    first, suspect = way.put("first"), way.put("suspect", crashes=1)
    way.put("behind")
    way.starts.leave(suspect)
    assert way.names == ["first", "behind"]
    way.starts.leave(first)
    assert "suspect" not in way.names


def test_what_turns_out_not_to_be_sent_holds_up_nobody() -> None:
    way = Way()
    way.put("gone", crashes=1, is_wanted=False)
    way.put("suspect", crashes=1)
    assert way.names == ["gone", "suspect"]


def test_a_start_of_which_nobody_tells_is_asked_whether_it_has_begun() -> None:
    way = Way()
    way.put("hook", has_begun=True)
    way.put("suspect", crashes=1)
    assert way.names == ["hook"]
    way.starts.look()
    assert way.names == ["hook", "suspect"]


def test_a_long_line_of_which_none_is_wanted_any_more_is_gone_through() -> None:
    way = Way(None)
    given_back: list[int] = []

    def put(number: int) -> None:
        def send(server: ForkServer) -> bool:
            given_back.append(number)
            way.starts.leave(start)
            return False

        start = Start(0, send)
        way.starts.put(start)

    for number in range(2000):
        put(number)
    way.starts.serve_with(ONE)
    assert given_back == list(range(2000))
