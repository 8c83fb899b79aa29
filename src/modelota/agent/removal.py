"""What can be asked of an open device root about uninstalling a model: the plan, the confirmation, the proof."""

from __future__ import annotations

import msgspec

from modelota.agent.core import Core
from modelota.agent.model_loop import ModelLoop
from modelota.agent.states import RemovalAsked
from modelota.clock import from_iso
from modelota.errors import AskPerson
from modelota.spec import api, api_life
from modelota.spec.document import read
from modelota.spec.limits import RESPONSE_MAX_BYTES
from modelota.spec.removal import RemovalPlan, RemovalProof


async def plan(core: Core, request: api_life.RemovalPlanRequest) -> api_life.RemovalPlanView:
    """What uninstalling would remove, and the digest to confirm it by (clause 7.3.1).

    Raises:
        AskPerson: `no-model-installed`; `service-goes-on`, `hardware-suits`: the reason does not hold.
    """
    loop = core.loop(request.model)
    if request.reason == "end-of-service":
        end = core.journal.end_of_service(loop.model)
        if end is None or core.clock.now() < from_iso(end):
            raise AskPerson("service-goes-on", model=loop.model)
    arguments = {"model": loop.model, "reason": request.reason, "user_data": request.user_data}
    found = await core.foreground.run("removal-plan", arguments)
    return msgspec.json.decode(found, type=api_life.RemovalPlanView)


async def uninstall(core: Core, request: api_life.RemovalRequest, *, authority: str) -> api.ModelStatus:
    """Uninstall what the plan with this digest lists, as its owner confirmed.

    Raises:
        AskPerson: `no-plan`; `plan-changed`: something else would go now; `update-in-progress`, `no-model-installed`.
    """
    body = core.journal.records.plan_body(request.plan_digest)
    if body is None:
        raise AskPerson("no-plan", digest=request.plan_digest[:64])
    confirmed = read(body, RemovalPlan, RESPONSE_MAX_BYTES)
    loop = core.loop(confirmed.model)
    _require_idle(loop)
    arguments = {"model": loop.model, "reason": confirmed.reason, "user_data": confirmed.user_data}
    found = msgspec.json.decode(await core.foreground.run("removal-plan", arguments), type=api_life.RemovalPlanView)
    if found.digest != request.plan_digest:
        raise AskPerson("plan-changed", digest=request.plan_digest[:64], now=found.digest)
    asked = RemovalAsked(
        plan_digest=request.plan_digest,
        authority=authority,
        channel=request.channel,
        reason=confirmed.reason,
        id=core.journal.decisions.next_id(),
    )
    if not await loop.post(asked):
        _require_idle(loop)
        raise AskPerson("no-model-installed", model=loop.model)
    return core.model_status(loop)


def proof(core: Core, plan_digest: str) -> RemovalProof:
    """The proof that a plan was carried out.

    Raises:
        AskPerson: `no-plan`: none was, under this digest.
    """
    body = core.journal.records.proof_body(plan_digest)
    if body is None:
        raise AskPerson("no-plan", digest=plan_digest[:64])
    return read(body, RemovalProof, RESPONSE_MAX_BYTES)


def _require_idle(loop: ModelLoop) -> None:
    update = loop.state.update
    if update is not None:
        raise AskPerson("update-in-progress", version=update.target.version, phase=update.phase)
