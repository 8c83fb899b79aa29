"""Errors on the device that its owner resolves: space, requirements, offers and decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelota.i18n.sentences.sentence import Sentence
from modelota.i18n.texts import mark

_CHECK_AGAIN = mark("Run “modelota device check” and look at the offer it shows.")
_SEE_VERSIONS = mark("“modelota device versions” lists the versions there are.")

ASK_DEVICE: Final[Mapping[str, Sentence]] = {
    # -- what the device has ----------------------------------------------------------------------------------------
    "no-space": Sentence(
        mark("There is too little free space at {path}: {need_bytes} are needed, {free_bytes} are free."),
        mark("Free some space, then try again."),
    ),
    "requirement-not-met": Sentence(
        mark("This device does not meet the requirement “{requirement}”: needed {need}, found {found}."),
        mark("Keep the version you have, or meet the requirement (for example by upgrading the operating system)."),
    ),
    "runtime-missing": Sentence(
        mark("The program that runs this model is not there: {runtime} (needed: {need})."),
        mark("Install it (for llama.cpp: pip install “modelota[llama]”), then try again."),
    ),
    "no-runnable-variant": Sentence(
        mark("No variant of version {version} can run on this device."),
        mark("Keep the version you have, or ask the publisher for a variant that fits this device."),
    ),
    "no-model-installed": Sentence(
        mark("The model {model} is not installed on this device yet."),
        mark("Install it with “modelota device update”."),
    ),
    "release-failed-here": Sentence(
        mark("Version {version} of {model} was tried on this device before and went back."),
        mark("Nothing to do. To try it again all the same, accept its offer."),
    ),
    # -- offers and decisions -----------------------------------------------------------------------------------------
    "no-offer": Sentence(mark("There is no open offer for {model}."), _CHECK_AGAIN),
    "offer-not-shown": Sentence(
        mark("The offer {digest} was never shown to anyone, so nobody can have accepted it."), _CHECK_AGAIN
    ),
    "offer-changed": Sentence(
        mark("The offer {digest} no longer describes what would happen; the present one is {now}."), _CHECK_AGAIN
    ),
    "offer-expired": Sentence(mark("The offer {digest} expired at {expired_at}."), _CHECK_AGAIN),
    "decision-required": Sentence(
        mark("An update needs a person's decision, and nobody can be asked here."),
        mark("Read the offer with “modelota device check”, then run “modelota device update --accept DIGEST”."),
    ),
    "ceiling-exceeded": Sentence(
        mark("The update now needs {need_bytes}, more than the {ceiling_bytes} you agreed to."),
        mark("Look at the new offer and decide again."),
    ),
    # -- the flow -------------------------------------------------------------------------------------------------
    "update-in-progress": Sentence(
        mark("The change to version {version} is under way ({phase})."),
        mark("Wait until it is done, or stop it with “modelota device cancel”."),
    ),
    "no-update-in-progress": Sentence(mark("No update of {model} is under way.")),
    "update-paused": Sentence(
        mark("The update to version {version} was paused."),
        mark("“modelota device resume” lets it go on, “modelota device cancel” ends it."),
    ),
    "not-now": Sentence(
        mark("“{action}” is not possible at this moment ({phase})."),
        mark("Wait for this step to end, then try again."),
    ),
    "cannot-cancel": Sentence(
        mark("The update can no longer be cancelled ({phase})."),
        mark("Wait until it is done; then “modelota device rollback” goes back."),
    ),
    "version-not-kept": Sentence(mark("Version {version} is not kept on this device."), _SEE_VERSIONS),
    "nothing-to-roll-back": Sentence(mark("There is no earlier version of {model} to go back to."), _SEE_VERSIONS),
}
