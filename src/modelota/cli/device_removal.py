"""Uninstalling a model: `uninstall`. Plan, show, confirm, remove, prove (clause 7.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, cast, get_args

import msgspec

from modelota.cli import agent_access
from modelota.cli.agent_access import AgentAccess, ask
from modelota.cli.failure import Reported
from modelota.cli.follow import follow
from modelota.cli.options import device_root
from modelota.cli.question import ask_word, can_ask
from modelota.cli.session import Session, current
from modelota.errors import AskPerson
from modelota.i18n.removal import plan_lines, proof_lines
from modelota.spec import api, api_life
from modelota.spec.removal import Reason, RemovalProof, UserDataChoice

_WORDS: Final = frozenset({"uninstall", "卸载"})
Channel = Literal["terminal", "script"]


def choices(reason: str, user_data: str) -> tuple[Reason, UserDataChoice]:
    """Read the options of a plan.

    Raises:
        AskPerson: `argument-invalid`.
    """
    for argument, value, allowed in (("--reason", reason, Reason), ("--user-data", user_data, UserDataChoice)):
        if value not in get_args(allowed):
            raise AskPerson("argument-invalid", argument=f"{argument} {value}"[:80], detail="not-a-choice")
    return cast("Reason", reason), cast("UserDataChoice", user_data)


async def uninstall(
    root: Path,
    model: str | None,
    reason: Reason,
    user_data: UserDataChoice,
    accept: str | None,
    proof: Path | None,
) -> int:
    """Show what would be removed and, once that is confirmed, remove it.

    Args:
        root: of the device.
        model: which; None is the only one.
        reason: why.
        user_data: what becomes of the user's data.
        accept: the digest of a plan that was shown before.
        proof: where the proof is written as JSON, besides being shown.

    Raises:
        AskPerson: `decision-required`: nobody sits at a terminal, and no plan was named; `cancelled-by-user`.
    """
    session = current()
    async with agent_access.open_access(root) as access:
        if accept is None:
            request = api_life.RemovalPlanRequest(model=model, reason=reason, user_data=user_data)
            view = await ask(access, api_life.RemovalPlanView, "POST", "/v1/removal/plan", request)
            _show(session, view)
            if not can_ask(session):
                command = f"modelota device uninstall --accept {view.digest}"
                session.line()
                session.say(
                    "To confirm: {command}",
                    command=command if root == device_root(None) else f"{command} --root {root}",
                )
                raise Reported(AskPerson("decision-required", digest=view.digest), "unchanged")
            await _confirm(session)
            return await _carry_out(access, session, view.digest, "terminal", proof)
        return await _carry_out(access, session, accept, "script", proof)


async def _carry_out(access: AgentAccess, session: Session, digest: str, channel: Channel, proof: Path | None) -> int:
    statuses = (await ask(access, api.Status, "GET", "/v1/status")).models
    known = {each.model: each.last_outcome for each in statuses}
    request = api_life.RemovalRequest(plan_digest=digest, channel=channel)
    status = await ask(access, api.ModelStatus, "POST", "/v1/removal", request)
    result = await follow(access, session, status.model, known.get(status.model), patient=True)
    if result == 0:
        done = await ask(access, RemovalProof, "GET", f"/v1/removals/{digest}")
        session.emit({"proof": done})
        for line in proof_lines(
            items=done.items,
            removed_bytes=done.removed_bytes,
            plan_digest=done.plan_digest,
            language=session.language,
        ):
            session.line(line)
        if proof is not None:
            _write(proof, done)
            session.say("The proof is in {path}.", path=proof)
    return result


def _show(session: Session, view: api_life.RemovalPlanView) -> None:
    plan = view.plan
    title = plan.model if plan.version is None else f"{plan.model} {plan.version}"
    session.emit(view)
    for line in plan_lines(
        title=title,
        reason=plan.reason,
        items=plan.items,
        stays=plan.stays,
        size_bytes=plan.size_bytes,
        language=session.language,
    ):
        session.line(line)
    if plan.user_data == "remove":
        session.line()
        session.say("Your data are removed too. “modelota device backup FILE” keeps an encrypted copy of them.")


async def _confirm(session: Session) -> None:
    """Ask for the word itself: pressing enter, or a letter, removes nothing.

    Raises:
        AskPerson: `cancelled-by-user`.
    """
    session.line()
    question = session.texts.say("Type “uninstall” to remove all of this, anything else to stop: ")
    await ask_word(question, _WORDS, action="uninstall")


def _write(path: Path, proof: RemovalProof) -> None:
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(proof), indent=2) + b"\n")
    except OSError as error:
        raise AskPerson("permission-denied", path=str(path)) from error
