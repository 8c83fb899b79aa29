"""Errors on the device that its owner resolves: space, requirements, offers and decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelota.i18n.sentences.sentence import Sentence
from modelota.i18n.texts import mark

_CHECK_AGAIN = mark("Look for updates again: on the page of this device, or with “modelota device check”.")
_SEE_VERSIONS = mark("“modelota device versions” lists the versions there are.")

_SHOW_PLAN = mark("Run the command without --accept and look at the plan it shows.")

ASK_DEVICE: Final[Mapping[str, Sentence]] = {
    # -- what the device has ----------------------------------------------------------------------------------------
    "no-space": Sentence(
        mark("There is too little free space at {path}: {need_bytes} are needed, {free_bytes} are free."),
        mark("Free some space, then try again."),
    ),
    "user-data-too-large": Sentence(
        mark("There are too many or too large files in {path} to copy them ({entries} entries, {size_bytes})."),
        mark("Move what is not needed there elsewhere, then try again."),
    ),
    "backup-not-opened": Sentence(
        mark("The file {path} does not open: the passphrase is another one, or the file is damaged or no backup."),
        mark("Try the passphrase again, or use another backup. Your present data are unchanged."),
    ),
    "backup-of-other-model": Sentence(
        mark("The backup {path} belongs to the model {found}, not to {need}."),
        mark("Name the right model with --model, or use another backup."),
    ),
    "backup-newer-data": Sentence(
        mark("The data in {path} have layout {found}; the version in use knows layouts up to {known}."),
        mark("Update the model first, then take the backup back."),
    ),
    "nothing-to-report": Sentence(
        mark("No change of version of {model} has ended on this device yet."),
        mark("Nothing to do. After the next one, “modelota device report” shows what it did."),
    ),
    "file-exists": Sentence(
        mark("There is a file at {path} already; it is not overwritten."),
        mark("Choose another name."),
    ),
    "requirement-not-met": Sentence(
        mark("This device does not meet the requirement “{requirement}”: needed {need}, found {found}."),
        mark("Keep the version you have, or meet the requirement (for example by upgrading the operating system)."),
    ),
    "runtime-missing": Sentence(
        mark("The program that runs this model is not there: {runtime} (needed: {need})."),
        mark("Install it (for llama.cpp: “pip install 'modelota[llama]'”), then try again."),
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
    "return-takes-long": Sentence(
        mark("Going back will probably take longer than five minutes ({duration_s} seconds)."),
        mark("If you want to go back all the same, say so: add --although-long."),
    ),
    # -- uninstalling -----------------------------------------------------------------------------------------------
    "record-invalid": Sentence(
        mark("{path} is not the record of a removed agent, or it was changed."),
        mark("Name the file that “modelota device remove-agent --proof” wrote."),
    ),
    "no-plan": Sentence(mark("No plan with the digest {digest} was made and shown."), _SHOW_PLAN),
    "plan-changed": Sentence(
        mark("The plan {digest} no longer describes what would be removed; the present one is {now}."), _SHOW_PLAN
    ),
    "service-changed": Sentence(
        mark("{path} was changed after this agent wrote it."),
        mark("If the changes are not needed, remove the file and run the command again; else move them to a drop-in."),
    ),
    "service-installed": Sentence(
        mark("You may not remove {path}, which belongs to this agent's service."),
        mark("First remove the service as root: “modelota device service remove”."),
    ),
    "service-command-failed": Sentence(
        mark("The command “{command}” did not succeed."),
        mark("See to what it says, then run the command again."),
    ),
    "service-goes-on": Sentence(
        mark("The publisher of {model} has not ended its service."),
        mark("Nothing to do. You can remove it all the same, for no other reason than that you want to."),
    ),
    "hardware-suits": Sentence(
        mark("This device meets what version {version} of {model} requires."),
        mark("Nothing to do. You can remove it all the same, for no other reason than that you want to."),
    ),
    # -- offers and decisions -----------------------------------------------------------------------------------------
    "no-offer": Sentence(mark("There is no open offer for {model}."), _CHECK_AGAIN),
    "offer-not-shown": Sentence(
        mark("The offer {digest} was never shown to anyone, so nobody can have accepted it."), _CHECK_AGAIN
    ),
    "offer-changed": Sentence(
        mark("The offer {digest} no longer describes what would happen; the present one is {now}."), _CHECK_AGAIN
    ),
    "answer-expired": Sentence(
        mark("You agreed to version {version}, but the download could not begin before {expired_at}."),
        mark("The offer stands again: answer it when it suits you."),
    ),
    "answer-unknown": Sentence(
        mark("Nobody gave an answer with the number {id}."),
        mark("“modelota device answers” lists them."),
    ),
    "answer-over": Sentence(
        mark("The answer {id} does not count any more, so it can't be taken back."),
        mark("Nothing to do. “modelota device answers” lists those that count."),
        {
            "done": mark("It was carried out."),
            "expired": mark("It expired."),
            "revoked": mark("It was taken back before."),
            "superseded": mark("Another answer followed it."),
        },
    ),
    "offer-expired": Sentence(mark("The offer {digest} expired at {expired_at}."), _CHECK_AGAIN),
    "decision-required": Sentence(
        mark("This needs a person's decision, and nobody can be asked here."),
        mark("Read what is shown (for an update: “modelota device check”), then name its digest with --accept."),
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
    "cleaning-in-progress": Sentence(
        mark("A cleaning is under way."),
        mark("Wait until it is done, or stop it."),
        {"scanning": mark("It looks for leftovers."), "removing": mark("It removes leftovers.")},
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
    "release-revoked": Sentence(
        mark("The publisher revoked version {version} of {model} because of a flaw: {reason}."),
        mark(
            "Use another version. To go back to this one all the same, name its flaw: “modelota device rollback "
            "{version} --despite {reason}”."
        ),
    ),
    "inhibitor-unknown": Sentence(
        mark("Nobody holds an inhibitor with the id {id}; it was released, or it expired."),
        mark("Nothing to do. “modelota device inhibitors” lists those that are held."),
    ),
    "notice-unknown": Sentence(
        mark("There is no notice with the number {id}; it was about something that is long over.")
    ),
    "no-session-bus": Sentence(
        mark("This session has no D-Bus session bus, so it can show no notifications."),
        mark(
            "Run this inside a desktop session. Elsewhere the settings [notifications] hook and terminal tell of news; "
            "docs/notifications.md describes them."
        ),
    ),
    "no-browser": Sentence(
        mark("No web browser could be started to show the page."),
        mark("Install one, with xdg-open, or open the address that “modelota device page” prints."),
    ),
    "notifier-running": Sentence(mark("Notifications of the device in {path} are shown in this session already.")),
}
