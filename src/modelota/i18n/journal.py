"""Entries of the device's journal as sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelota.i18n import Language
from modelota.i18n.errors import present, render_error
from modelota.i18n.phases import gate_name
from modelota.i18n.texts import clean, mark, texts_for

_DIGEST_SHOWN_CHARS: Final = 12  # enough to tell offers of one device apart

EVENTS: Final[Mapping[str, str]] = {
    # -- events of the state machine ------------------------------------------------------------------------------
    "offer-made": mark("Version {to_version} was offered (offer {digest})."),
    "offer-gone": mark("The offer no longer stands ({reason})."),
    "decided": mark("The answer to the offer {digest} was “{answer}”."),
    "answer-expired": mark("The answer “{answer}” to the offer of version {to_version} expired."),
    "answer-revoked": mark("The answer “{answer}” to the offer of version {to_version} was taken back."),
    "reminded": mark("The user was reminded of the offer of version {to_version}."),
    "rollback-asked": mark("The user asked to go back to version {version}."),
    "recheck-passed": mark("Repository and device were checked once more."),
    "fetched": mark("The download is complete."),
    "verified": mark("Everything that was fetched is what the publisher signed."),
    "content-missing": mark("{frames} fetched parts were missing or damaged; they are fetched again."),
    "deployed": mark("Version {to_version} was put in place."),
    "tests-passed": mark("Version {to_version} passed its self-tests."),
    "tests-failed": mark("Version {to_version} did not pass its self-tests."),
    "gates-closed": mark("The update waits for {waits_for}."),
    "gates-open": mark("Nothing is in the way of the next step."),
    "activated": mark("Version {to_version} was put to use; it is watched until {watch_until}."),
    "withdrawn": mark("The publisher withdrew version {version} ({reason})."),
    "slots-verified": mark(
        "The installed versions were read and compared: {damaged} damaged files in {slots} versions."
    ),
    "watch-ended": mark("Version {to_version} proved itself; the watch ended."),
    "rolled-back": mark("The device went back to version {version}."),
    "paused": mark("The update was paused."),
    "resumed": mark("The update went on."),
    "cancelled": mark("The update was cancelled."),
    "failed": mark("A step did not succeed ({phase})."),
    "engine-crashed": mark("The engine stopped unexpectedly."),
    "restarted": mark("The agent started and went on where it had stopped."),
    "watch-broken": mark("The new version does worse than the one before."),
    "retested": mark("The version in use was tested again, because the system below it changed."),
    "removal-asked": mark("The user confirmed to uninstall the model (plan {digest})."),
    "removed": mark("The model was uninstalled; {removed_bytes} were freed."),
    # -- notes ----------------------------------------------------------------------------------------------------
    "enrolled": mark("The device was set up for the repository {url}."),
    "recovered": mark("The device was set up again after its database could not be read; kept: {versions}."),
    "keys-changed": mark("The keys of the device class were renewed; there are keys of the epochs {epochs} now."),
    "seeded": mark("Version {version} was put into this device's image at the factory."),
    "service-installed": mark("The service {unit} was installed."),
    "service-removed": mark("The service {unit} was removed."),
    "checked": mark("Looked for a new version."),
    "check-failed": mark("Looking for a new version did not succeed."),
    "stale-allowed": mark("The user allowed information that is out of date."),
    "offer-shown": mark("The offer {digest} was shown."),
    "inhibited": mark("“{holder}” keeps updates waiting until {until} ({reason})."),
    "inhibitor-released": mark("“{holder}” no longer keeps updates waiting."),
    "autostart-installed": mark("Desktop sessions show notifications from now on ({entry})."),
    "autostart-removed": mark("Desktop sessions no longer start to show notifications ({entry})."),
    "notified": mark("The user was notified (notice {id})."),
    "notice-shown": mark("The notice {id} was shown ({channel})."),
    "notice-dismissed": mark("The notice {id} was put away ({channel})."),
    "in-use-withdrawn": mark("The version in use was taken back by its publisher."),
    "scrubbed": mark("Installed versions were read in the background: {damaged} damaged parts in {slots} versions."),
    "kept-incomplete": mark("A version could not be kept whole; going back to it takes a download."),
    "user-data-not-restored": mark("Your data could not be put back into their earlier form; they stay as they are."),
    "user-data-not-saved": mark("Your data could not be copied before the way back; they are kept beside."),
    "clean-failed": mark("Some leftovers could not be removed; it is tried again at the next start."),
    "cleaning-found": mark("Leftovers were looked for: {certain} certain ({certain_bytes}), {probable} probable."),
    "cleaning-stopped": mark("Looking for leftovers was stopped."),
    "cleaning-confirmed": mark("Removing leftovers was confirmed (plan {digest})."),
    "cleaned": mark("{removed} leftovers were removed ({removed_bytes}); {refused} could not be."),
    "cleaning-failed": mark("A cleaning did not succeed."),
    "group-not-served": mark("The group {group} is not served, because this system does not know it."),
    "user-data-saved": mark("Your data were copied, sealed and verified ({size_bytes})."),
    "user-data-restored": mark("Your data of the version in use were put in place again."),
    "compute-measured": mark("This device was measured: {gops} giga-operations and {memory_gb_s} GB a second."),
    "backup-made": mark("Your data were written to the encrypted backup {path}."),
    "backup-taken-back": mark("Your data were taken back from the backup {path}."),
    "token-made": mark("The application {application} got a token for the gateway."),
}

# A first install has nothing to go back to, so nothing is watched.
_ACTIVATED_UNWATCHED: Final = mark("Version {to_version} was put to use.")

ANSWERS: Final[Mapping[str, str]] = {
    "accept": mark("accept"),
    "later": mark("later"),
    "skip": mark("skip this version"),
    "decline": mark("decline"),
}


def answer_name(answer: str, language: Language) -> str:
    """Name a user's answer; an unknown one is given as it is."""
    return texts_for(language).say(ANSWERS[answer]) if answer in ANSWERS else clean(answer)


def log_sentence(event: str, facts: Mapping[str, object], language: Language) -> str:
    """Say what a journal entry records; an event this version does not know is given by name with its facts.

    Args:
        event: name of the event.
        facts: its parameters; an error's `code` and `params` among them are rendered too.
        language: of the reader.
    """
    texts = texts_for(language)
    known = _ACTIVATED_UNWATCHED if event == "activated" and "watch_until" not in facts else EVENTS.get(event)
    if known is None:
        listed = [f"{clean(key)}={clean(value)[:80]}" for key, value in facts.items() if value is not None]
        return f"{clean(event)} {' '.join(listed)}".strip()
    shown = present(facts, language)
    digest = facts.get("digest") or facts.get("plan_digest")
    answer, waits_for = facts.get("answer"), facts.get("waits_for")
    if isinstance(digest, str):
        shown["digest"] = digest[:_DIGEST_SHOWN_CHARS]
    if isinstance(answer, str):
        shown["answer"] = answer_name(answer, language)
    if isinstance(waits_for, (list, tuple)):
        shown["waits_for"] = texts.listing([gate_name(str(gate), language) for gate in waits_for])
    sentence = texts.say(known, **shown)
    code, params = facts.get("code"), facts.get("params")
    if isinstance(code, str):
        told = render_error(code, params if isinstance(params, Mapping) else {}, language)
        sentence = f"{sentence}{texts.stop}{told.what}{texts.stop}[{told.code}]"
    return sentence
