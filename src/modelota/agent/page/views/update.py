"""*Update*: how far it is, what it waits for and why; pause, resume and cancel until activation."""

from __future__ import annotations

from typing import Final

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from modelota.agent.page.page import ThisPage
from modelota.agent.page.views.chosen import require
from modelota.agent.page.views.progress import live_words, running
from modelota.errors import AskPerson
from modelota.spec import api
from modelota.spec.api_owner import DecisionsPage

_LOOK_AGAIN_S: Final = 5  # without scripts the browser fetches the view anew this often


@get("/update")
async def update(
    page: ThisPage, model: FromQuery[str | None] = None, said: FromQuery[str] = ""
) -> Response[str] | Redirect:
    """Show the operation under way; when it is over, lead on to how it ended."""
    status = await page.get(api.Status, "/v1/status")
    busy = [each for each in status.models if each.operation is not None and model in {None, each.model}]
    if not busy:
        return page.go("/result", model=model)
    now = running(page, busy[0])
    decisions = await page.get(DecisionsPage, "/v1/decisions", model=busy[0].model, limit="20")
    standing = (each for each in decisions.decisions if each.answer == "accept" and each.state == "standing")
    return page.render(
        "progress.html.jinja",
        now=now,
        words=live_words(page.texts),
        decision=next((each for each in standing if each.revocable), None),
        look_again_s=_LOOK_AGAIN_S,
        elsewhere=said == "decided-elsewhere",
    )


@post("/update/{action:str}")
async def control(page: ThisPage, action: FromPath[str]) -> Redirect:
    """Pause, resume or cancel the operation of a model."""
    form = await page.form()
    require(page, "decide", "decide")
    if action not in {"pause", "resume", "cancel"}:
        raise AskPerson("page-not-found", path=f"/update/{action[:80]}")
    model = form.get("model") or None
    await page.post(api.ModelStatus, f"/v1/{action}", api.ControlRequest(model=model))
    return page.go("/result" if action == "cancel" else "/update", model=model)


HANDLERS = [update, control]
