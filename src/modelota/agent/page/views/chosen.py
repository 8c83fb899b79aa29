"""Which model a view is about, and what its person may do there."""

from __future__ import annotations

import pwd
from typing import NamedTuple

from modelota.agent.page.page import Page
from modelota.errors import AskPerson
from modelota.i18n import Language
from modelota.i18n.owner import authority_name
from modelota.i18n.texts import clean, localised
from modelota.spec import api
from modelota.spec.api_owner import Right


class Chosen(NamedTuple):
    """The status of the device and of the model that was chosen, and what people call it."""

    status: api.Status
    model: api.ModelStatus
    title: str

    @property
    def several(self) -> bool:
        """Whether there is something to choose from."""
        return len(self.status.models) > 1


async def choose(page: Page, model: str | None) -> Chosen:
    """The model of that name; without one, the first of the device.

    Raises:
        AskPerson: `argument-invalid`: the device has no such model.
        ModelotaError: the agent does not answer.
    """
    status = await page.get(api.Status, "/v1/status")
    found = next((each for each in status.models if model in {None, "", each.model}), None)
    if found is None:
        raise AskPerson(
            "argument-invalid", argument="model", detail=f"not a model of this device: {(model or '')[:80]}"
        )
    return Chosen(status, found, title_of(found, page.language))


def title_of(model: api.ModelStatus, language: Language) -> str:
    """What people call a model; its name where its publisher says nothing."""
    return clean(localised(model.title, language).strip()) or model.model


def require(page: Page, right: Right, action: str) -> None:
    """Check that the page's person has a right; the agent checks it again.

    Raises:
        AskPerson: `not-authorised`.
    """
    if right not in page.rights:
        raise AskPerson("not-authorised", action=action, uid=page.authority.removeprefix("uid:"))


def user_of(authority: str) -> pwd.struct_passwd | None:
    """The user of this system that an authority names, or None."""
    kind, _, number = authority.partition(":")
    if kind != "uid" or not (number.isascii() and number.isdigit()):
        return None
    try:
        return pwd.getpwuid(int(number))
    except (KeyError, OverflowError):
        return None


def who(page: Page, authority: str) -> str:
    """Name who answered, as this page's reader would: “you”, or the user's name on this system."""
    user = user_of(authority)
    return authority_name(authority, page.language, own=page.authority, user=user.pw_name if user else None)
