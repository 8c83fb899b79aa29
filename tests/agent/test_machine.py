"""The update's state machine, by stories and by random walks against its invariants."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from modelota.agent import states as s
from modelota.agent.machine import ATTEMPTS_MAX, step
from modelota.spec.api import ErrorBody
from modelota.spec.slot import SlotId

NOW = "2026-01-01T00:00:00Z"
OLD, NEW, OTHER = SlotId("1.1.1", "q8"), SlotId("1.1.2", "q8"), SlotId("1.1.3", "q8")
OFFER = "a" * 64
WAY = ("rechecking", "waiting", "fetching", "verifying", "deploying", "testing", "waiting")  # gates before two of them
STEPS = tuple(dict.fromkeys(WAY))
CRASHES_MAX = 3
CRASH = s.EngineCrashed(error=ErrorBody(code="engine-crashed"), limit=CRASHES_MAX)


def answered(answer: str = "accept", target: SlotId = NEW, direction: str = "update") -> s.Answered:
    return s.Answered(
        offer_digest=OFFER,
        answer=answer,
        authority="uid:0",
        channel="terminal",
        direction=direction,
        target=target,
        manifest_digest="b" * 64,
    )


def installed() -> s.State:
    return s.State(current=OLD, slots=(OLD,))


def run(state: s.State, *events: s.MachineEvent) -> tuple[s.State, list[s.Effect]]:
    effects: list[s.Effect] = []
    for event in events:
        state, new = step(state, event, NOW)
        effects += new
    return state, effects


def offered(state: s.State) -> s.State:
    return run(state, s.Offered(offer_digest=OFFER, target=NEW))[0]


def error(code: str) -> ErrorBody:
    return ErrorBody(code=code, params={})


def failed(phase: str, code: str, branch: str) -> s.Failed:
    return s.Failed(phase=phase, error=error(code), branch=branch)


def until(phase: str) -> s.State:
    state, _ = run(offered(installed()), answered())
    for done in WAY[: WAY.index(phase) if phase in WAY else len(WAY)]:
        state, _ = run(state, s.Done(phase=done))
    return state


def test_the_whole_way_in_order() -> None:
    """An accepted offer passes every step in the order of the standard and ends with the new version in use."""
    state, effects = run(offered(installed()), answered(), *(s.Done(phase=phase) for phase in WAY))
    assert [effect.phase for effect in effects if isinstance(effect, s.Work)] == [*WAY, "activating"]
    state, effects = run(state, s.Activated(at=NOW, watch_until="2026-01-02T00:00:00Z"))
    assert (state.current, state.previous, state.slots) == (NEW, OLD, (OLD, NEW))
    assert state.phase == "watching"
    assert state.last is not None
    assert state.last.result == "done"
    assert any(isinstance(effect, s.Clean) and set(effect.keep) == {OLD, NEW} for effect in effects)


def test_nothing_starts_without_an_accepted_offer() -> None:
    """Later, skip, decline, and an answer to another offer start nothing (clause 5.1-d)."""
    for event in (answered("later"), answered("skip"), answered("decline")):
        state, effects = run(offered(installed()), event)
        assert state.update is None
        assert effects == []
    other = msgspec.structs.replace(answered(), offer_digest="c" * 64)
    assert run(offered(installed()), other)[0].update is None
    assert run(installed(), answered())[0].update is None


def test_skip_is_remembered_and_accepting_forgets_it() -> None:
    """A skipped version is not heard of again, until a person asks for it and accepts it after all."""
    state, _ = run(offered(installed()), answered("skip"))
    assert state.skipped == ("1.1.2",)
    assert offered(state) == state
    asked, _ = run(state, s.Offered(offer_digest=OFFER, target=NEW, asked=True))
    accepted, _ = run(asked, answered())
    assert (accepted.skipped, accepted.silent) == ((), ())


def test_failed_self_test_leaves_the_version_in_use() -> None:
    """A version that fails its self-test never becomes current, is removed, and is remembered as failed."""
    state, effects = run(until("testing"), failed("testing", "self-test-failed", "refuse-content"))
    assert (state.current, state.slots, state.failed, state.update) == (OLD, (OLD,), ("1.1.2",), None)
    assert state.last is not None
    assert state.last.error is not None
    assert (state.last.result, state.last.error.now) == ("failed", "serving")
    assert any(isinstance(effect, s.Clean) and effect.keep == (OLD,) for effect in effects)


def test_passing_errors_pause_and_resume_where_they_were() -> None:
    """A network error pauses the fetch; resuming asks for the same step again."""
    state, _ = run(until("fetching"), failed("fetching", "network-unreachable", "try-later"))
    assert state.update is not None
    assert (state.update.paused, state.update.waits_for) == (True, ("network-unreachable",))
    state, effects = run(state, s.Resumed(authority="timer"))
    assert effects == [s.Work(phase="fetching")]


def test_a_pause_of_a_person_outlasts_every_timer() -> None:
    """A person can pause an update that waits to be tried again, and no timer resumes what a person paused."""
    state, _ = run(until("fetching"), failed("fetching", "network-unreachable", "try-later"))
    state, effects = run(state, s.PauseAsked(authority="uid:0"))
    assert effects == [s.StopWork()]
    assert state.update is not None
    assert (state.update.paused, state.update.waits_for) == (True, ("person",))
    assert run(state, s.Resumed(authority="timer")) == (state, [])
    assert run(state, s.PauseAsked(authority="uid:0")) == (state, [])
    assert run(state, s.Resumed(authority="uid:0"))[1] == [s.Work(phase="fetching")]


def test_a_full_disk_says_nothing_against_the_version() -> None:
    """What a person has to mend on the device is no attempt of the version, and does not mark it as failed."""
    state = until("testing")
    for _ in range(ATTEMPTS_MAX * 2):
        state, _ = run(state, failed("testing", "no-space", "ask-person"))
        assert state.update is not None
        assert state.update.paused
        state, effects = run(state, s.Resumed(authority="timer"))
        assert effects == [s.Work(phase="testing")]
    for code in ("no-space", "disk-error"):
        state, _ = run(until("activating"), failed("activating", code, "ask-person"))
        assert (state.update, state.current, state.failed) == (None, OLD, ())
    state, _ = run(until("activating"), failed("activating", "engine-crashed", "try-later"))
    assert state.failed == ("1.1.2",)


def test_bad_content_ends_the_update_without_blaming_the_version() -> None:
    """A tampered download ends the update; the version itself may be offered again."""
    state, _ = run(until("fetching"), failed("fetching", "pack-tampered", "refuse-content"))
    assert (state.update, state.failed, state.current) == (None, (), OLD)


def test_cancel_until_activation_and_not_later() -> None:
    """Every step before activation can be cancelled; activation can't."""
    for phase in STEPS:
        state, effects = run(until(phase), s.CancelAsked(authority="uid:0"))
        assert state.update is None
        assert isinstance(effects[0], s.StopWork)
        assert state.last is not None
        assert state.last.result == "cancelled"
    state = until("activating")
    assert run(state, s.CancelAsked(authority="uid:0"))[0] == state


def test_inconclusive_measurements_wait_and_do_not_count() -> None:
    """An inconclusive self-test is repeated as often as it takes; it is never a reason to go back."""
    state = until("testing")
    for _ in range(ATTEMPTS_MAX * 3):
        state, _ = run(state, failed("testing", "self-test-inconclusive", "try-later"))
        assert state.update is not None
        assert state.update.paused
        state, effects = run(state, s.Resumed(authority="timer"))
        assert effects == [s.Work(phase="testing")]


def test_three_interrupted_attempts_go_back() -> None:
    """A self-test or activation that never comes to an end is given up after three attempts."""
    for phase in ("testing", "activating"):
        state = until(phase)
        for _ in range(ATTEMPTS_MAX - 1):
            state, effects = run(state, s.Restarted())
            assert effects == [s.Work(phase=phase)]
        state, _ = run(state, s.Restarted())
        assert state.update is None
        assert state.current == OLD
        assert state.last is not None
        assert state.last.error is not None
        assert state.last.error.code == "attempts-exhausted"


def test_restart_asks_for_the_step_again() -> None:
    """After a restart every phase goes on; what a person paused stays paused."""
    for phase in STEPS:
        assert s.Work(phase=phase) in run(until(phase), s.Restarted())[1]
    paused, _ = run(until("fetching"), s.PauseAsked(authority="uid:0"))
    assert run(paused, s.Restarted())[1] == []
    stopped, _ = run(until("fetching"), failed("fetching", "network-unreachable", "try-later"))
    assert run(stopped, s.Restarted())[1] == [s.Work(phase="fetching")]


def test_missing_content_is_fetched_again() -> None:
    """Staged content that is gone when it is needed leads back to fetching."""
    state, effects = run(until("deploying"), s.ContentMissing(frames=3))
    assert effects == [s.Work(phase="fetching")]
    assert state.phase == "fetching"


def test_rollback_to_a_kept_slot() -> None:
    """A person goes back to a kept slot at once, and the version left is not offered again unasked."""
    state = s.State(current=NEW, previous=OLD, slots=(OLD, NEW))
    asked = s.RollbackAsked(target=OLD, manifest_digest="b" * 64, authority="uid:0", channel="terminal")
    state, effects = run(state, asked)
    assert effects == [s.Work(phase="waiting")]
    state, effects = run(state, s.Done(phase="waiting"))
    assert effects == [s.Work(phase="activating")]
    state, _ = run(state, s.Activated(at=NOW, watch_until=NOW))
    assert (state.current, state.previous, state.skipped, state.failed) == (OLD, NEW, ("1.1.2",), ())
    assert run(state, msgspec.structs.replace(asked, target=OTHER))[1] == []


def test_crashes_in_the_watch_window_go_back() -> None:
    """Three crashes of the new version within the watch window bring the version before back."""
    state, _ = run(until("activating"), s.Activated(at=NOW, watch_until="2026-01-02T00:00:00Z"))
    effects: list[s.Effect] = []
    for _ in range(CRASHES_MAX):
        assert effects == []
        state, effects = run(state, CRASH)
    assert effects == [s.Work(phase="rolling-back")]
    state, _ = run(state, s.Returned(at=NOW))
    assert (state.current, state.failed, state.slots) == (OLD, ("1.1.2",), (OLD,))
    assert state.last is not None
    assert state.last.error is not None
    assert state.last.error.now == "returned"


def test_crashes_after_the_watch_change_nothing() -> None:
    """Once the window has passed a crash is an incident, not a reason to go back."""
    state = s.State(current=NEW, previous=OLD, slots=(OLD, NEW))
    assert run(state, *[CRASH] * 5) == (state, [])


def test_when_the_version_before_fails_too_the_device_says_so() -> None:
    """If going back fails as well the state is degraded, with the reason."""
    state, _ = run(until("activating"), s.Activated(at=NOW, watch_until="2026-01-02T00:00:00Z"))
    state, _ = run(state, *[CRASH] * CRASHES_MAX)
    state, _ = run(state, failed("rolling-back", "slot-damaged", "refuse-content"))
    assert state.phase == "degraded"
    assert state.last is not None
    assert state.last.error is not None
    assert state.last.error.now == "degraded"


def test_gates_wait_in_front_of_three_steps() -> None:
    """An update waits before it fetches, before it activates, and before the switch, and goes on when a gate opens."""
    state, effects = run(until("waiting"), s.GatesClosed(waits_for=("charging",), gate="fetch"))
    assert state.update is not None
    assert (state.update.gate, state.update.waits_for, effects) == ("fetch", ("charging",), [])
    state, effects = run(until("activating"), s.GatesClosed(waits_for=("inhibitor:driving",), gate="switch"))
    assert state.update is not None
    assert (state.phase, state.update.gate, effects) == ("waiting", "switch", [s.Work(phase="waiting")])
    assert run(state, s.CancelAsked(authority="uid:0"))[0].update is None
    assert run(state, s.Done(phase="waiting"))[1] == [s.Work(phase="activating")]


def test_a_fetch_that_had_to_wait_is_rechecked_first() -> None:
    """A decision may wait for days: release and device are looked at once more before anything is fetched."""
    waited, _ = run(until("waiting"), s.GatesClosed(waits_for=("time",), gate="fetch"))
    state, effects = run(waited, s.Done(phase="waiting"))
    assert effects == [s.Work(phase="rechecking")]
    assert run(waited, s.Restarted(), s.Done(phase="waiting"))[1][-1] == s.Work(phase="rechecking")
    assert run(state, s.Done(phase="rechecking"), s.Done(phase="waiting"))[1][-1] == s.Work(phase="fetching")
    paused, _ = run(until("waiting"), s.PauseAsked(authority="uid:0"))
    assert run(paused, s.Resumed(authority="uid:0"))[1] == [s.Work(phase="rechecking")]


def test_a_repair_during_the_watch_does_not_end_it() -> None:
    """Whoever mends the watched version does not lose the automatic way back that the decision covers."""
    state, _ = run(until("activating"), s.Activated(at=NOW, watch_until="2026-01-02T00:00:00Z"))
    watch = state.watch
    state, _ = run(state, s.Offered(offer_digest=OFFER, target=NEW), answered(direction="repair"))
    state, _ = run(state, *(s.Done(phase=phase) for phase in WAY), s.Activated(at=NOW, watch_until=NOW))
    assert state.update is None
    assert (state.current, state.previous, state.watch) == (NEW, OLD, watch)


def test_a_withdrawal_stops_an_update_and_no_way_back() -> None:
    """Who goes back to what the publisher took back was warned; a repair mends what is there; an update ends."""
    withdrawn = s.Withdrawn(version=NEW.version, reason="wrong")
    ended, _ = run(until("fetching"), withdrawn)
    assert ended.update is None
    assert ended.last is not None
    assert ended.last.error is not None
    assert ended.last.error.code == "release-withdrawn"
    for changes in ({"direction": "rollback", "offer_digest": None}, {"direction": "repair"}):
        state = until("fetching")
        assert state.update is not None
        state = msgspec.structs.replace(state, update=msgspec.structs.replace(state.update, **changes))
        assert run(state, withdrawn) == (state, [])
    fetched = until("fetching")
    assert fetched.update is not None
    told = msgspec.structs.replace(fetched, update=msgspec.structs.replace(fetched.update, despite_withdrawal=True))
    assert run(told, withdrawn) == (told, [])
    fetched = msgspec.structs.replace(fetched, update=msgspec.structs.replace(fetched.update, direction="rollback"))
    assert run(fetched, withdrawn)[0].update is None


def test_a_broken_watch_goes_back_even_during_another_update() -> None:
    """What makes the watched version unfit ends an update that can still be stopped, and goes back (clause 6.3-a)."""
    state, _ = run(until("activating"), s.Activated(at=NOW, watch_until="2026-01-02T00:00:00Z"))
    busy, _ = run(run(state, s.Offered(offer_digest=OFFER, target=OTHER))[0], answered(target=OTHER))
    state, effects = run(busy, s.WatchBroken(error=error("watch-slower")))
    assert effects[0] == s.StopWork()
    assert effects[-1] == s.Work(phase="rolling-back")
    state, _ = run(state, s.Returned(at=NOW))
    assert (state.current, state.failed) == (OLD, ("1.1.2",))


def test_versions_that_leave_their_slots_are_kept_sealed() -> None:
    """As many as the settings say, newest departure first; a failed one is not kept."""
    state = s.State(current=NEW, previous=OLD, slots=(OLD, NEW))
    state, _ = run(state, s.Offered(offer_digest=OFFER, target=OTHER))
    state, _ = run(state, answered(target=OTHER), *(s.Done(phase=phase) for phase in WAY))
    state, effects = run(state, s.Activated(at=NOW, watch_until=NOW, keep_older=1))
    assert (state.slots, state.kept) == ((NEW, OTHER), (OLD,))
    assert any(isinstance(effect, s.Clean) and effect.seal == (OLD,) for effect in effects)


def test_a_failed_retest_goes_back_only_while_a_decision_covers_it() -> None:
    """In the watch window the device goes back by itself; later it says so and leaves the choice to its owner."""
    state, _ = run(until("activating"), s.Activated(at=NOW, watch_until="2026-01-02T00:00:00Z"))
    assert run(state, s.Retested(target=NEW, error=error("self-test-failed")))[1] == [s.Work(phase="rolling-back")]
    state, _ = run(state, s.WatchEnded())
    state, effects = run(state, s.Retested(target=NEW, error=error("self-test-failed")))
    assert (state.suspect, effects) == (error("self-test-failed"), [])
    assert run(state, s.Retested(target=NEW, error=None))[0].suspect is None


def test_a_retest_of_another_version_says_nothing_about_the_one_in_use() -> None:
    """A user goes back, or uninstalls, while self-tests run again: their end blames nobody."""
    late = s.Retested(target=NEW, error=error("self-test-failed"))
    for state in (s.State(current=OLD, previous=NEW, slots=(OLD, NEW)), s.State(uninstalled=True)):
        assert run(state, late) == (state, [])


def test_removal_is_carried_through() -> None:
    """A confirmed removal can't be cancelled, goes on after a restart, and leaves nothing but what was not wanted."""
    state = s.State(current=NEW, previous=OLD, slots=(OLD, NEW), skipped=("1.1.4",))
    asked = s.RemovalAsked(plan_digest=OFFER, authority="uid:0", channel="terminal", reason="user")
    state, effects = run(state, asked)
    assert effects == [s.Work(phase="removing")]
    assert run(state, s.CancelAsked(authority="uid:0")) == (state, [])
    assert run(state, s.Restarted())[1] == [s.Work(phase="removing")]
    stuck, _ = run(state, failed("removing", "permission-denied", "ask-person"))
    assert run(stuck, s.Resumed(authority="timer"))[1] == [s.Work(phase="removing")]
    state, _ = run(state, s.Removed(at=NOW))
    assert (state.current, state.slots, state.uninstalled, state.skipped) == (None, (), True, ("1.1.4",))


PHASES = (*STEPS, "activating", "rolling-back", "removing")
EVENTS = st.one_of(
    st.just(s.Offered(offer_digest=OFFER, target=NEW)),
    st.just(s.OfferGone(reason="")),
    st.sampled_from(["accept", "accept", "later", "skip", "decline"]).map(answered),
    st.just(s.Offered(offer_digest=OFFER, target=NEW, asked=True)),
    st.just(s.AnswerExpired(id=0)),
    st.just(s.Reminded(id=0, remind_s=(60,))),
    st.booleans().map(lambda restore: s.Revoked(id=0, authority="", channel="page", restore=restore)),
    st.sampled_from([OLD, NEW, OTHER]).map(
        lambda slot: s.RollbackAsked(target=slot, manifest_digest="b" * 64, authority="", channel="terminal")
    ),
    st.sampled_from(PHASES).map(lambda phase: s.Done(phase=phase)),
    st.tuples(
        st.sampled_from(PHASES),
        st.sampled_from(
            [
                ("network-unreachable", "try-later"),
                ("self-test-inconclusive", "try-later"),
                ("engine-crashed", "try-later"),
                ("no-space", "ask-person"),
                ("ceiling-exceeded", "ask-person"),
                ("self-test-failed", "refuse-content"),
                ("unexpected", "our-bug"),
            ]
        ),
    ).map(lambda pair: failed(pair[0], *pair[1])),
    st.just(s.ContentMissing(frames=1)),
    st.sampled_from(["fetch", "activate", "switch"]).map(lambda gate: s.GatesClosed(waits_for=("parked",), gate=gate)),
    st.just(s.Activated(at=NOW, watch_until="2026-01-02T00:00:00Z", keep_older=1)),
    st.just(s.Returned(at=NOW)),
    st.just(s.PauseAsked(authority="")),
    st.just(s.Resumed(authority="")),
    st.just(s.CancelAsked(authority="")),
    st.sampled_from(["1.1.1", "1.1.2"]).map(lambda version: s.Withdrawn(version=version, reason="wrong")),
    st.just(CRASH),
    st.just(s.WatchBroken(error=error("watch-slower"))),
    st.sampled_from([None, error("self-test-failed")]).map(lambda found: s.Retested(target=NEW, error=found)),
    st.just(s.RemovalAsked(plan_digest=OFFER, authority="", channel="terminal", reason="user")),
    st.just(s.Removed(at=NOW)),
    st.just(s.WatchEnded()),
    st.just(s.Restarted()),
)


@settings(max_examples=1500)
@given(st.lists(EVENTS, max_size=60), st.sampled_from([s.State(), installed()]))
def test_invariants_hold_on_every_walk(events: list[s.MachineEvent], state: s.State) -> None:
    """Whatever happens in whatever order: one version in use, kept as a slot, changed only by a durable switch."""
    decided = False
    for event in events:
        before = state
        state, effects = step(before, event, NOW)
        if isinstance(event, s.Answered) and event.answer == "accept" and before.offer == event.offer_digest:
            decided = True
        if state.current != before.current:
            assert isinstance(event, s.Activated | s.Returned | s.Removed)
        if state.update is not None and before.update is None:
            assert decided or isinstance(
                event, s.RollbackAsked | s.RemovalAsked | s.EngineCrashed | s.WatchBroken | s.Retested
            )
        if state.current is not None:
            assert state.current in state.slots
        assert state.previous is None or (state.previous in state.slots and state.previous != state.current)
        assert state.update is None or state.update.attempts <= ATTEMPTS_MAX
        assert not set(state.kept) & set(state.slots)
        assert sum(isinstance(effect, s.Work) for effect in effects) <= 1
        for effect in effects:
            if isinstance(effect, s.Work):
                assert state.update is not None
                assert effect.phase == state.update.phase
                assert not state.update.paused
            if isinstance(effect, s.Clean):
                assert state.current is None or state.current in effect.keep
        assert msgspec.json.decode(msgspec.json.encode(state), type=s.State) == state
