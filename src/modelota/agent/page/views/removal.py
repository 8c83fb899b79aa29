"""*Uninstall*: why and what becomes of the data, the plan, a backup, the confirmation, the proof (clause 7.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast, get_args

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from modelota.agent.page.page import Page, ThisPage
from modelota.agent.page.views.backups import Backup, backup_form, make_backup
from modelota.agent.page.views.chosen import Chosen, choose, require, title_of
from modelota.agent.page.views.progress import live_words, running
from modelota.errors import AskPerson
from modelota.i18n.removal import ItemLike, kind_name, reason_sentence, stays_name
from modelota.spec import api, api_life
from modelota.spec.removal import Reason, RemovalProof, UserDataChoice

_SHOWN: Final = 5  # items of a plan that are not folded away
_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")


class Item(NamedTuple):
    """One thing of a plan or proof, as it is told."""

    path: str
    kind: str
    size_bytes: int


@get("/remove")
async def choices(page: ThisPage, model: FromQuery[str | None] = None) -> Response[str]:
    """Ask why the model goes and what becomes of its user's data."""
    chosen = await choose(page, model)
    reasons: list[Reason] = ["user", "unsuitable-hardware"]
    if chosen.model.end_of_service is not None:
        reasons.insert(1, "end-of-service")
    return page.render(
        "removal.html.jinja",
        chosen=chosen,
        model=chosen.model,
        reasons=[(each, reason_sentence(each, page.language)) for each in reasons],
    )


@get("/remove/plan")
async def plan(
    page: ThisPage,
    model: FromQuery[str | None] = None,
    reason: FromQuery[str] = "user",
    user_data: FromQuery[str] = "keep",
    changed: FromQuery[str | None] = None,
    made: FromQuery[str | None] = None,
) -> Response[str]:
    """Show what would be removed; nothing is."""
    chosen = await choose(page, model)
    backup = await backup_form(page, chosen.model, made=made == "yes")
    return await _show(page, chosen, _choice(reason, user_data), backup, changed=changed == "yes")


@post("/remove/backup")
async def back_up(page: ThisPage) -> Response[str] | Redirect:
    """Write a backup first, and come back to the plan."""
    form = await page.form()
    chosen = await choose(page, form.get("model"))
    choice = _choice(form.get("reason", "user"), form.get("user_data", "keep"))
    refused = await make_backup(page, chosen.model)
    if refused is not None:
        return await _show(page, chosen, choice, refused, changed=False)
    return page.go("/remove/plan", model=chosen.model.model, reason=choice[0], user_data=choice[1], made="yes")


@post("/remove")
async def confirm(page: ThisPage) -> Response[str] | Redirect:
    """Uninstall what the plan that was shown lists, and nothing else."""
    form = await page.form()
    require(page, "remove", "uninstall")
    model, digest = form.get("model"), form.get("plan_digest", "")
    reason, user_data = _choice(form.get("reason", "user"), form.get("user_data", "keep"))
    if form.get("sure") != "yes":
        chosen = await choose(page, model)
        return await _show(
            page, chosen, (reason, user_data), await backup_form(page, chosen.model), changed=False, unsure=True
        )
    try:
        await page.post(api.ModelStatus, "/v1/removal", api_life.RemovalRequest(plan_digest=digest, channel="page"))
    except AskPerson as error:
        if error.code != "plan-changed":
            raise
        return page.go("/remove/plan", model=model, reason=reason, user_data=user_data, changed="yes")
    return page.go(f"/removed/{digest}", model=model)


@get("/removed/{digest:str}")
async def removed(page: ThisPage, digest: FromPath[str], model: FromQuery[str | None] = None) -> Response[str]:
    """Show how the uninstallation goes on, and its proof once it is done."""
    status = await page.get(api.Status, "/v1/status")
    busy = (each for each in status.models if each.phase == "removing" and model in {None, "", each.model})
    removing = next(busy, None)
    if removing is not None:  # also when an equal plan was carried out before: its proof is not this one's
        return page.render(
            "removal_progress.html.jinja",
            title=title_of(removing, page.language),
            model=removing,
            now=running(page, removing),
            words=live_words(page.texts),
        )
    proof = await _proof(page, digest)
    known = next((each for each in status.models if each.model == proof.model), None)
    items = [Item(each.path, kind_name(each.kind, page.language), each.size_bytes) for each in proof.items]
    return page.render(
        "removal_proof.html.jinja",
        title=proof.model if known is None else title_of(known, page.language),
        proof=proof,
        digest=digest,
        reason=reason_sentence(proof.reason, page.language),
        **_folded(items),
    )


@get("/removed/{digest:str}/proof.json")
async def proof_file(page: ThisPage, digest: FromPath[str]) -> Response[bytes]:
    """The proof as a file to keep."""
    return Response(
        msgspec.json.format(msgspec.json.encode(await _proof(page, digest)), indent=2) + b"\n",
        media_type="application/json",
        headers={"content-disposition": f'attachment; filename="modelota-removal-{digest[:12]}.json"'},
    )


async def _show(
    page: Page,
    chosen: Chosen,
    choice: tuple[Reason, UserDataChoice],
    backup: Backup,
    *,
    changed: bool,
    unsure: bool = False,
) -> Response[str]:
    request = api_life.RemovalPlanRequest(model=chosen.model.model, reason=choice[0], user_data=choice[1])
    view = await page.post(api_life.RemovalPlanView, "/v1/removal/plan", request)
    return page.render(
        "removal_plan.html.jinja",
        chosen=chosen,
        model=chosen.model,
        plan=view.plan,
        digest=view.digest,
        reason=reason_sentence(view.plan.reason, page.language),
        stays=[stays_name(each, page.language) for each in view.plan.stays],
        backup=backup,
        changed=changed,
        unsure=unsure,
        **_folded([Item(each.path, kind_name(each.kind, page.language), each.size_bytes) for each in view.plan.items]),
    )


def _folded(items: Sequence[ItemLike]) -> dict[str, Any]:
    """The first items, and those that a long list folds away."""
    return {"first": items[:_SHOWN], "rest": items[_SHOWN:]}


def _choice(reason: str, user_data: str) -> tuple[Reason, UserDataChoice]:
    for name, value, allowed in (("reason", reason, Reason), ("user_data", user_data, UserDataChoice)):
        if value not in get_args(allowed):
            raise AskPerson("argument-invalid", argument=f"{name} {value}"[:80], detail="not-a-choice")
    return cast("Reason", reason), cast("UserDataChoice", user_data)


async def _proof(page: Page, digest: str) -> RemovalProof:
    if not _DIGEST.match(digest):
        raise AskPerson("no-plan", digest=ascii(digest)[:64])
    return await page.get(RemovalProof, f"/v1/removals/{digest}")


HANDLERS = [choices, plan, back_up, confirm, removed, proof_file]
