"""Removing the agent: `remove-agent`. Plan, show, confirm, record, remove, prove (clause 7.3.2)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from modelota.agent.leaving import Leaving, LeavingRecord
from modelota.cli.failure import Reported
from modelota.cli.options import device_root
from modelota.cli.question import ask_word, can_ask
from modelota.cli.session import Session, current
from modelota.clock import SystemClock
from modelota.errors import AskPerson, ModelotaError
from modelota.i18n.leaving import leaving_lines, left_lines
from modelota.spec.leaving import LeavingPlan

_WORDS: Final = frozenset({"remove", "移除"})


async def remove_agent(root: Path, file: Path, accept: str | None) -> None:
    """Show what would be removed and, once that is confirmed, remove it.

    Raises:
        AskPerson: `decision-required`: nobody sits at a terminal, and no plan was named; `cancelled-by-user`; those of
            `Leaving`.
        TryLater: `device-busy`, `disk-error`.
    """
    session = current()
    leaving = Leaving(root, SystemClock())
    record = leaving.unfinished(file)
    if record is None:
        digest = accept if accept is not None else await _confirmed(session, leaving.plan(), root, file)
        record = leaving.begin(file, digest, f"uid:{os.getuid()}")
    else:
        session.say("Going on with the removal that was confirmed at {time}.", time=record.confirmed_at)
    _finish(session, leaving, file, record)


def _finish(session: Session, leaving: Leaving, file: Path, record: LeavingRecord) -> None:
    try:
        proof = leaving.finish(file, record)
    except ModelotaError as error:
        raise Reported(error, "removing", {"path": str(file)}) from error
    session.emit({"proof": proof, "file": str(file.absolute())})
    for line in left_lines(
        items=proof.items,
        removed_bytes=proof.removed_bytes,
        plan_digest=proof.plan_digest,
        language=session.language,
    ):
        session.line(line)
    session.say(
        "Record and proof are in {path}; “modelota device clean --from” finds with it what others copied.", path=file
    )


async def _confirmed(session: Session, plan: LeavingPlan, root: Path, file: Path) -> str:
    """Ask for the word itself; the digest of what it confirms."""
    session.emit({"plan": plan, "digest": plan.digest})
    for line in leaving_lines(
        root=plan.root,
        items=(*(item for model in plan.models for item in model.items), *plan.items, *plan.outside),
        stays=plan.stays,
        size_bytes=plan.size_bytes,
        language=session.language,
    ):
        session.line(line)
    session.line()
    if not can_ask(session):
        command = f"modelota device remove-agent --proof {file} --accept {plan.digest}"
        session.say(
            "To confirm: {command}", command=command if root == device_root(None) else f"{command} --root {root}"
        )
        raise Reported(AskPerson("decision-required", digest=plan.digest), "unchanged")
    kinds = {str(item.kind) for model in plan.models for item in model.items} | {item.kind for item in plan.items}
    if "user data" in kinds:
        session.say("Your data are removed too. “modelota device backup FILE” keeps an encrypted copy of them.")
    question = session.texts.say("Type “remove” to remove all of this, anything else to stop: ")
    await ask_word(question, _WORDS, action="remove-agent")
    return plan.digest
