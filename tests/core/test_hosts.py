"""When a host counts as lost: by the watching host's clock alone, and never for the database was away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgjobd.core.hosts import (
    Former,
    LivesElsewhereError,
    Seen,
    Vigil,
    acknowledged,
    lost,
    wait_before_term,
)

BEAT = 5.0
WEB2 = Seen(2, "web2", term=1, beats=7, lost_after=20.0)


def watched(*looks: tuple[float, Seen]) -> Vigil:
    """A vigil whose own beats were acknowledged at these times, when the other was found like this."""
    vigil = Vigil()
    for now, seen in looks:
        vigil = acknowledged(vigil, now, BEAT, [seen])
    return vigil


def still(*times: float, seen: Seen = WEB2) -> Vigil:
    return watched(*((now, seen) for now in times))


def test_a_host_that_has_not_moved_for_as_long_as_it_said_is_lost() -> None:
    assert lost(still(100, 105, 110, 115, 119)) == []
    assert lost(still(100, 105, 110, 115, 120)) == [WEB2]


def test_a_beat_or_another_term_shows_that_it_lives() -> None:
    moved, renewed = replace(WEB2, beats=8), replace(WEB2, term=2, beats=7)
    for seen in (moved, renewed):
        vigil = watched((100, WEB2), (105, WEB2), (110, seen), (115, seen), (120, seen), (125, seen))
        assert lost(vigil) == []
        assert lost(acknowledged(vigil, 130, BEAT, [seen])) == [seen]


def test_after_an_outage_of_the_database_all_begin_to_count_anew() -> None:
    assert lost(still(100, 105, 110, 121)) == []
    assert lost(still(100, 105, 110, 121, 126, 131, 136)) == []
    assert lost(still(100, 105, 110, 121, 126, 131, 136, 141)) == [WEB2]


def test_a_beat_that_takes_its_time_breaks_nothing() -> None:
    assert lost(still(100, 110, 120)) == [WEB2]


def test_who_says_false_never_counts_as_lost() -> None:
    forever = replace(WEB2, lost_after=None)
    assert lost(still(*range(100, 1000, 5), seen=forever)) == []


def test_who_counts_as_lost_already_does_not_do_so_again() -> None:
    assert lost(still(100, 105, 110, 115, 120, seen=replace(WEB2, is_lost=True))) == []


def test_what_a_stopped_daemon_left_is_lost_and_one_that_left_nothing_has_just_left() -> None:
    left = replace(WEB2, has_left=True)
    assert lost(still(100, 105, 110, 115, 120, seen=left)) == [left]
    assert lost(still(100, 105, 110, 115, 120, seen=replace(left, is_owing=False))) == []


def test_a_host_that_came_later_counts_from_when_it_was_first_seen() -> None:
    vigil = acknowledged(still(100, 105, 110, 115), 120, BEAT, [WEB2, replace(WEB2, host=3, name="web3")])
    assert [one.name for one in lost(vigil)] == ["web2"]


# Who may take a term


FORMER = Former(pulse=(3, 7), boot_id="one", unseen_for=1.0)


def test_who_beat_a_moment_ago_in_another_life_is_waited_for_until_it_is_silent_for_two_beats() -> None:
    assert wait_before_term(FORMER, "another", BEAT, watched=None) == 9.0
    assert wait_before_term(FORMER._replace(unseen_for=10.0), "another", BEAT, watched=None) == 0.0
    assert wait_before_term(FORMER._replace(unseen_for=10.0), "another", BEAT, watched=(3, 7)) == 0.0


def test_a_database_that_went_back_meanwhile_tells_nothing_of_who_has_the_term() -> None:
    for pulse in ((3, 6), (2, 9)):
        former = FORMER._replace(pulse=pulse)
        assert wait_before_term(former, "another", BEAT, watched=(3, 7)) == 9.0
        assert wait_before_term(former, "another", BEAT, watched=pulse) == 0.0


def test_a_clock_of_the_database_that_was_set_back_is_no_longer_wait() -> None:
    former = FORMER._replace(unseen_for=-3600.0)
    assert wait_before_term(former, "another", BEAT, watched=None) == 10.0


@pytest.mark.parametrize("watched", [None, (3, 7), (3, 8)])
def test_a_database_that_was_away_until_now_tells_of_nobodys_silence(watched: tuple[int, int] | None) -> None:
    former = FORMER._replace(unseen_for=600.0)
    assert wait_before_term(former, "another", BEAT, watched, was_away=True) == 10.0
    assert wait_before_term(former, "one", BEAT, watched, was_away=True) == 0.0
    assert wait_before_term(former._replace(has_left=True), "another", BEAT, watched, was_away=True) == 0.0


def test_in_the_same_life_and_after_who_has_left_nobody_waits() -> None:
    assert wait_before_term(FORMER, "one", BEAT, watched=None) == 0.0
    assert wait_before_term(FORMER._replace(has_left=True), "another", BEAT, watched=None) == 0.0


@pytest.mark.parametrize("pulse", [(3, 8), (4, 0)])
def test_who_beats_or_starts_again_meanwhile_lives_elsewhere(pulse: tuple[int, int]) -> None:
    with pytest.raises(LivesElsewhereError):
        wait_before_term(FORMER._replace(pulse=pulse), "another", BEAT, watched=(3, 7))
    with pytest.raises(LivesElsewhereError):
        wait_before_term(FORMER._replace(pulse=pulse), "another", BEAT, watched=(3, 7), was_away=True)
