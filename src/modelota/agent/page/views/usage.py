"""*Usage*: how the version in use does, by what is measured today; and what is not measured yet."""

from __future__ import annotations

from typing import Final, NamedTuple

from litestar import Response, get
from litestar.params import FromQuery

from modelota.agent.page.page import Page, ThisPage
from modelota.agent.page.views.chosen import choose
from modelota.i18n.flow import verdict_name
from modelota.i18n.phases import engine_name
from modelota.i18n.texts import clean
from modelota.spec.api import SelfTestEntry
from modelota.spec.api_owner import ModelAbout

_FIGURES: Final = ("first_token_s", "tokens_per_s", "memory_bytes")


class Tested(NamedTuple):
    """A self-test record as it is told: of which version, when, how it ended, and what was measured.

    Attributes:
        result: the verdict's code.
        verdict: it in words.
    """

    version: str
    variant: str
    at: str
    result: str
    verdict: str
    figures: dict[str, float | None]
    tests: list[tuple[str, str]]

    @property
    def measured(self) -> bool:
        """Whether there is any figure."""
        return any(figure is not None for figure in self.figures.values())


@get("/usage")
async def usage(page: ThisPage, model: FromQuery[str | None] = None) -> Response[str]:
    """Show the engine, its figures in service, and the self-tests."""
    chosen = await choose(page, model)
    about = await page.get(ModelAbout, "/v1/about", model=chosen.model.model)
    kept = await page.get(tuple[SelfTestEntry, ...], "/v1/self-tests", model=chosen.model.model)
    return page.render(
        "usage.html.jinja",
        chosen=chosen,
        model=chosen.model,
        engine=engine_name(chosen.model.engine, page.language),
        service=about.service,
        tested=[told(page, each) for each in reversed(kept)],
    )


def told(page: Page, kept: SelfTestEntry) -> Tested:
    """A self-test record for its reader; what is not in it is unknown."""
    results = [each for each in kept.record.get("results") or () if isinstance(each, dict)]
    summary = next((each.get("figures") for each in results if each.get("id") == "performance"), None) or {}
    measured = {name: _number(summary.get(name)) for name in _FIGURES}
    verdict = str(kept.record.get("verdict", ""))
    version, _, variant = kept.slot.partition("+")
    return Tested(
        version=version,
        variant=variant,
        at=kept.at,
        result=verdict,
        verdict=verdict_name(verdict, page.language),
        figures=measured,
        tests=[
            (clean(each.get("id", "")), verdict_name(str(each.get("verdict", "")), page.language)) for each in results
        ],
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


HANDLERS = [usage]
