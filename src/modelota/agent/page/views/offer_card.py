"""An offer as the page shows it: what the card says at a glance, what lies below it, and that it was shown."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from modelota.agent.page.page import Page
from modelota.i18n import Language
from modelota.i18n.offer import OfferRow, consequence, costs, first_note, offer_rows, render_offer, title_line
from modelota.i18n.texts import clean, localised, mark
from modelota.spec import api
from modelota.spec.api_owner import DecisionView

_TOLD_MAX: Final = 256
# Consequences that a person should see before the button, not below it.
_WARN_OF: Final = ("withdrawn", "failed-before", "metered-network", "storage-share", "over-300-seconds")
_FIRST: Final = ("urgency", "notes", "version", "kind", "model")
_LAST: Final = ("covers", "digest")
_ACCEPT: Final = {
    "install": mark("Install now"),
    "update": mark("Update now"),
    "rollback": mark("Go back now"),
    "repair": mark("Repair now"),
}


class OfferCard(NamedTuple):
    """What a card shows.

    Attributes:
        view: the offer itself.
        title: the headline.
        urgency: why it should not wait, or an empty text.
        note: the first line of what changes.
        download: how much there is to fetch.
        time: how long it takes.
        permissions: the new ones, or that there is none.
        warnings: what a person should know before the button.
        stale: that the information is out of date, or an empty text.
        accept: what the first button says.
        changes: rows of the details: what changes.
        takes: rows of the details: what it takes.
        agreed: rows of the details: what a decision covers.
        later: the standing answer *later*, if there is one.
    """

    view: api.OfferView
    title: str
    urgency: str
    note: str
    download: str
    time: str
    permissions: str
    warnings: list[str]
    stale: str
    accept: str
    changes: list[OfferRow]
    takes: list[OfferRow]
    agreed: list[OfferRow]
    later: DecisionView | None


class _Told:
    """Which offers were shown to whom in which language, as far as this process remembers."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, Language], None] = OrderedDict()

    def knows(self, page: Page, digest: str) -> bool:
        """Whether this person was told of this offer in this language here."""
        return (page.authority, digest, page.language) in self._known

    def add(self, page: Page, digest: str) -> None:
        """Remember that they were."""
        self._known[page.authority, digest, page.language] = None
        while len(self._known) > _TOLD_MAX:
            self._known.popitem(last=False)


_TOLD: Final = _Told()


def offer_card(page: Page, view: api.OfferView, decisions: tuple[DecisionView, ...] = ()) -> OfferCard:
    """Make the card of an offer; `decisions` are those about its model."""
    language, offer = page.language, view.offer
    rows = offer_rows(view, language)
    by_key = {row.key: row for row in rows}
    download, time, permissions = costs(view, language)
    codes = [*offer.consequences, *(("over-300-seconds",) if view.takes_long else ())]
    standing = (each for each in decisions if each.offer_digest == view.digest and each.state == "standing")
    return OfferCard(
        view=view,
        title=title_line(view, language, title=model_title(view, language)),
        urgency=by_key["urgency"].text if "urgency" in by_key else "",
        note=first_note(view, language),
        download=download,
        time=time,
        permissions=permissions,
        warnings=[consequence(code, language) for code in dict.fromkeys(codes) if code in _WARN_OF],
        stale=by_key["caution"].text if "caution" in by_key else "",
        accept=page.texts.say(_ACCEPT.get(offer.direction, _ACCEPT["update"])),
        changes=[by_key[key] for key in _FIRST if key in by_key],
        takes=[row for row in rows if row.key not in {*_FIRST, *_LAST, "caution"}],
        agreed=[by_key[key] for key in _LAST],
        later=next((each for each in standing if each.answer == "later"), None),
    )


def model_title(view: api.OfferView, language: Language) -> str | None:
    """What people call the offer's model; None where its publisher did not say."""
    return clean(localised(view.title, language)) or None


async def tell_shown(page: Page, view: api.OfferView) -> None:
    """Have it journalled that this person is shown the offer, in these words (clause 5.1-c).

    Raises:
        ModelotaError: what the agent answered with.
    """
    if view.shown_at is not None and _TOLD.knows(page, view.digest):
        return
    text = render_offer(view, page.language, title=model_title(view, page.language))
    request = api.ShownRequest(offer_digest=view.digest, language=page.language, text=text, channel="page")
    await page.post(object, "/v1/shown", request)
    _TOLD.add(page, view.digest)
