"""`modelota device recover`: set a device up anew whose database can't be read. Plan, show, confirm, do."""

from __future__ import annotations

from pathlib import Path

from modelota.cli.session import current
from modelota.clock import SystemClock


def run(enrolment: Path, root: Path, *, confirm: bool) -> None:
    """Show what would be taken over; with `confirm`, do it.

    Raises:
        ModelotaError: as `modelota.agent.recovering`.
    """
    from modelota.agent import recovering

    session = current()
    clock = SystemClock()
    done = recovering.recover(enrolment, root, clock) if confirm else recovering.plan(root, clock)
    session.emit(done)
    for model in done.found:
        for slot in model.slots:
            if slot.slot == model.current:
                session.say(
                    "{model}: version {version} is whole and in use.", model=model.model, version=slot.slot.version
                )
            else:
                session.say("{model}: version {version} is whole.", model=model.model, version=slot.slot.version)
    if not done.found:
        session.say("No installed version is whole.")
    if not confirm:
        session.say("The journal, your decisions and the list of versions that failed here would be lost.")
        session.say("To do it, repeat the command with --confirm.")
        return
    session.say("This device is set up again at {root}.", root=root)
    if done.kept_as is not None:
        session.say("The damaged database is kept: {path}", path=done.kept_as)
