"""Errors that a person has to resolve: a decision, an input, a repair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelota.i18n.sentences.ask_device import ASK_DEVICE
from modelota.i18n.sentences.ask_page import ASK_PAGE
from modelota.i18n.sentences.sentence import Sentence
from modelota.i18n.texts import mark

_ASK_ENROLMENT = mark("Ask the publisher for a correct enrolment file.")

ASK_PERSON: Final[Mapping[str, Sentence]] = {
    # -- publishing -----------------------------------------------------------------------------------------------
    "version-invalid": Sentence(
        mark("“{text}” cannot be used as the version number."),
        mark("Choose a number such as 1.1.1: three parts, each at least 1, and higher than the version before."),
        {
            "form": mark("A version has three whole numbers with dots between them, for example 1.1.2."),
            "leading-zero": mark("No part may start with a zero: write 1.1.1, not 01.1.1."),
            "too-large": mark("Each part may have at most nine digits."),
            "not-positive": mark("Every part must be at least 1, so the first version of a model is 1.1.1."),
            "restart": mark("When a higher part increases, the lower ones start again at 1: after 1.4.3 comes 2.1.1."),
            "not-newer": mark("It must be higher than the version it follows."),
        },
    ),
    "description-invalid": Sentence(
        mark("The release description {path} has a mistake."),
        mark("Correct what is named and run the command again."),
    ),
    "model-empty": Sentence(
        mark("There is no model in {path}."),
        mark("Name a model file, or a directory with at least one file in it that is not empty."),
    ),
    "model-changed": Sentence(
        mark("{path} changed while it was being published."),
        mark("Wait until nothing writes to it any more, then publish again."),
    ),
    "model-unreadable": Sentence(
        mark("{path} could not be read as a model."),
        mark("Check that the file is complete and that you may read it."),
    ),
    "model-file-hostile": Sentence(
        mark("The header of {path} holds {found} where at most {limit} is allowed, as if to overload its readers."),
        mark("Get the file again from its source, and do not publish it if it is the same."),
        {
            "header-bytes": mark("The header is too long."),
            "tensors": mark("There are too many tensors."),
            "keys": mark("There are too many keys."),
            "text-bytes": mark("A name is too long."),
            "list-elements": mark("There are too many texts in lists."),
            "nesting": mark("Lists lie too deeply inside lists."),
        },
    ),
    "import-refused": Sentence(
        mark("{path} cannot be imported."),
        mark("Get the model again from its source, or describe it by hand (“modelota repo new”)."),
        {
            "not-a-model": mark("There is no GGUF file, no safetensors file and no Ollama model."),
            "no-such-model": mark("The store holds no model of this name."),
            "manifest-invalid": mark("The manifest is not one that Ollama writes."),
            "blob-missing": mark("The manifest names a blob that is not there, or is a link."),
            "blob-mismatch": mark("The blob is not what the manifest says: its size or its digest differs."),
            "link-outside": mark("It is a link that leads out of the snapshot, to a directory, or to nothing."),
            "too-many-files": mark("There are too many files, or too many directories inside each other."),
            "json-too-large": mark("It is far larger than such a file is."),
            "json-invalid": mark("The configuration is not a JSON object."),
            "header-unreadable": mark("The header contradicts itself, so nothing is known about its tensors."),
            "pickle-only": mark("There are only pickled weights, which run code when they are loaded."),
            "part-missing": mark("It is one part of a split file, and not all parts are there."),
            "mixed-forms": mark("There are GGUF and safetensors files side by side; name one GGUF file to import it."),
            "adapter-alone": mark("It is an adapter without the model it belongs to."),
            "name-unusable": mark("Its name has characters that cannot be written in a description."),
        },
    ),
    "import-choice": Sentence(
        mark("There are several models in {path}: {models}."),
        mark("Choose one with --name, or give the path of one."),
    ),
    "log-unreadable": Sentence(
        mark("The log {path} could not be read to its end."),
        mark("Check that it is complete and that you may read it, then run the command again."),
    ),
    "repository-exists": Sentence(
        mark("There is a repository at {path} already."),
        mark("Publish to the existing one, or choose an empty place."),
    ),
    "not-a-repository": Sentence(
        mark("{path} is not a repository that this publisher can work with."),
        mark("Check the path, or create a repository with “modelota repo init”."),
    ),
    "version-exists": Sentence(
        mark("Version {version} of {model} is published already, and a published version never changes."),
        mark("Choose a higher version number."),
    ),
    "version-order": Sentence(
        mark("Version {version} does not follow {newest}, the newest one published."),
        mark("Choose a version number above the newest one."),
    ),
    "self-test-missing": Sentence(
        mark("The variant {variant} has no self-test, so it could not prove itself on a device."),
        mark("Add at least one self-test to the release description."),
    ),
    "archive-missing": Sentence(
        mark("There is no archive for what {model} releases; nothing may be published without one."),
        mark("Name a private place as archive_place in publisher.toml."),
    ),
    "kept-by-law": Sentence(
        mark("Version {version} of {model} has to be kept until {until}."),
        mark("Nothing was deleted. Announce the end of the model's service first; two years after it, it may go."),
    ),
    "test-report-missing": Sentence(
        mark("There is no test report of version {version}: it was not tested in the real engine."),
        mark("Run “modelota repo test” on it first."),
    ),
    "test-report-stale": Sentence(
        mark("The test report of version {version} does not speak for what is to be published."),
        mark("Run “modelota repo test” once more."),
        {
            "version": mark("It is about another release."),
            "content": mark("Files have changed since."),
            "tests": mark("Self-tests have changed since."),
            "predecessors": mark("Further releases have been published since, whose core tests it has to pass."),
        },
    ),
    "test-report-failed": Sentence(
        mark("Version {version} did not pass its tests (variant {variant}, test “{test}”)."),
        mark("Correct the model, or its tests where they promise too much, and run “modelota repo test” again."),
        {
            "own": mark("It is one of its own tests."),
            "compatibility": mark("It is a core test of an earlier version, on which applications rely."),
        },
    ),
    "version-step-too-small": Sentence(
        mark("Version {version} is too small a step from {predecessor} for what changed: {changes}."),
        mark("Call it {least} or higher, or take the changes back."),
    ),
    "interface-dropped": Sentence(
        mark("The release drops the core interface “{interface}”, which version {predecessor} has."),
        mark("Keep the interface: applications rely on it. Add it to the release description."),
    ),
    "core-test-dropped": Sentence(
        mark("The release drops or changes the core self-test “{test}” of version {predecessor}."),
        mark("Take the test over unchanged, so that the version before can be compared with."),
    ),
    "baseline-unusable": Sentence(
        mark("No package can be made that starts from version {version}."),
        mark("Choose another version with --baseline, or leave the choice to the program."),
        {
            "unknown": mark("There is no such release."),
            "not-older": mark("It is not older than the new release."),
            "withdrawn": mark("It has been withdrawn."),
            "locked": mark("No key in this workspace opens its packs; give the archive key with --archive-key."),
        },
    ),
    "incremental-without-base": Sentence(
        mark("The release cannot have an incremental package, because it has nothing to start from."),
        mark("Publish without --incremental: devices then take the cheapest of the other packages."),
        {
            "no-predecessor": mark("There is no earlier release, or all of them have been withdrawn."),
            "no-counterpart": mark("Its predecessor has no variant like any of its own."),
        },
    ),
    "incremental-too-large": Sentence(
        mark(
            "The incremental package of variant {variant} from version {base} would take {size_bytes}, which is "
            "{percent} % of the full package ({full_bytes}); at most {limit} % is allowed."
        ),
        mark("Publish without --incremental: devices then take the cheapest of the other packages."),
    ),
    "key-missing": Sentence(
        mark("Signing as “{role}” takes {need} keys, but only {have} are at hand."),
        mark("Bring the missing keys into the key directory, or ask the holders to sign as well."),
    ),
    "key-unlock-failed": Sentence(
        mark("The key {key} could not be unlocked."),
        mark("Check the passphrase and try again."),
    ),
    "passphrase-missing": Sentence(
        mark("The passphrase for the key {key} is needed, and nobody can be asked for it here."),
        mark("Give it through --passphrase-fd or the environment variable MODELOTA_PASSPHRASE."),
    ),
    "metadata-expires-soon": Sentence(
        mark("The repository's “{role}” metadata expires at {expires_at}."),
        mark("Run “modelota repo refresh” before then."),
    ),
    # -- enrolment and place ----------------------------------------------------------------------------------------
    "enrolment-invalid": Sentence(
        mark("The enrolment file {path} has a mistake."),
        _ASK_ENROLMENT,
        {
            "other-class": mark("It is for another class of devices than this one."),
            "other-seed": mark("This device came with a model that the file does not name."),
        },
    ),
    "already-enrolled": Sentence(
        mark("{path} is set up as a device already."),
        mark("Use it as it is, or choose another place with --root."),
    ),
    "not-enrolled": Sentence(
        mark("{path} is not set up as a device yet."),
        mark("Set it up with “modelota device init” and the enrolment file, or name another place with --root."),
    ),
    "config-invalid": Sentence(
        mark("The settings file {path} has a mistake."),
        mark("Correct it; docs/configuration.md lists all settings."),
    ),
    "root-not-private": Sentence(
        mark("{path} holds keys, but other users may enter it (mode {mode})."),
        mark("Run “chmod 700” on it, then try again."),
    ),
    "root-of-other-user": Sentence(
        mark("{path} belongs to {user}; working in it as root would leave files there that {user} cannot use."),
        mark("Run the command as that user: sudo -u {user} modelota …."),
    ),
    "root-untrusted": Sentence(
        mark("The root of trust is not acceptable."),
        _ASK_ENROLMENT,
        {"other-repository": mark("The model that came with this device is from another repository.")},
    ),
    "permission-denied": Sentence(
        mark("You may not read or write {path}."),
        mark("Run the command as the user who owns it, or choose another place."),
    ),
    "keyring-unavailable": Sentence(
        mark("The system's keyring could not be used."),
        mark("Unlock the keyring and try again, or let modelota keep its keys in a private file."),
    ),
    "database-unreadable": Sentence(
        mark("The agent's database {path} could not be read."),
        mark(
            "Check the disk. If the file is damaged, stop the agent and use “modelota device recover”: it keeps what "
            "is installed."
        ),
    ),
    "database-newer": Sentence(
        mark("The database {path} was written by a newer modelota (schema {found}; this one knows {known})."),
        mark("Use the newer modelota again."),
    ),
    "nothing-to-recover": Sentence(
        mark("The device at {path} has nothing to recover: its database can be read, or it was never set up."),
        mark("Use “modelota device status” to see how it is."),
    ),
    "clock-behind": Sentence(
        mark("The device's clock says {device_time}, earlier than {floor}, which has certainly passed."),
        mark("Set the device's clock, then try again."),
    ),
    # -- input ----------------------------------------------------------------------------------------------------
    "not-authorised": Sentence(
        mark("User number {uid} may not do this: {action}."),
        mark("Ask the owner of the device."),
    ),
    "request-invalid": Sentence(
        mark("The agent did not understand the request."),
        mark("Check the request against docs/socket-api.md."),
    ),
    "request-too-large": Sentence(
        mark("The request is larger than the limit of {limit_bytes}."),
        mark("Send a smaller request."),
    ),
    "gateway-host-refused": Sentence(
        mark("The gateway does not answer for the host name {host}: a web page may be trying to reach it."),
        mark("Use 127.0.0.1 or localhost, or the Unix socket."),
    ),
    "gateway-origin-refused": Sentence(
        mark("The gateway does not answer web pages (origin {origin})."),
        mark("Reach it from an application on this device, not from a page in a browser."),
    ),
    "gateway-token-refused": Sentence(
        mark("The gateway does not know this token."),
        mark("Make one with “modelota device gateway token” and send it as a bearer token."),
    ),
    "route-unknown": Sentence(
        mark("The agent has no service at {path}."),
        mark("Check the address against docs/socket-api.md, and that both sides have the same version."),
    ),
    "argument-invalid": Sentence(
        mark("The argument {argument} cannot be used."),
        mark("Run the command with --help to see what it takes."),
        {
            "missing": mark("It is required."),
            "missing-command": mark("One of its commands has to follow."),
            "unknown-option": mark("There is no such option here."),
            "unknown-command": mark("There is no such command."),
            "not-a-number": mark("It must be a whole number."),
            "out-of-range": mark("It is too small or too large."),
            "not-a-choice": mark("It is not one of the values allowed here."),
            "not-a-file": mark("There is no such file."),
            "not-a-directory": mark("There is no such directory."),
            "no-directory": mark("The directory it is to lie in does not exist."),
            "inside-root": mark("It has to lie outside the device's directory, which is removed."),
            "control-character": mark("A unit file cannot hold a path with a line break or another control character."),
            "several-variants": mark("This release has several variants; name one of them with --variant."),
            "sealed-at-rest": mark("A sealed version is sealed on its device; it cannot be put into an image."),
            "not-an-archive-key": mark("It is the file of another key than an archive key."),
            "contradicts": mark("It contradicts another option."),
            "not-a-digest": mark("An offer's digest has 64 characters, 0-9 and a-f."),
            "not-a-threshold": mark("Write role=need/keys, for example root=2/3."),
            "not-a-duration": mark("Write a time span such as 12h or 7d."),
            "needs-value": mark("A value has to follow it."),
            "extra": mark("It is one argument too many."),
            "several-models": mark("This device has several models; name one of them with --model."),
            "no-tcp-port": mark("The gateway has no TCP port; set gateway.tcp_port in config.toml first."),
            "not-unicode": mark("It is not valid UTF-8 text."),
            "not-printable": mark("It must be one line of printable text, without spaces around it."),
            "not-a-span": mark("Write a time span such as 30m, 12h or 7d, of seven days at most."),
            "too-far-away": mark("At most 90 days ahead."),
            "in-the-past": mark("That time has passed already."),
            "not-a-time": mark("Write a time such as 22:30 (the next one), or 2026-11-24T22:30:00Z."),
            "unknown-finding": mark("The plan lists nothing with this id that is only probably left behind."),
            "too-many": mark("There are too many of them."),
        },
    ),
    "cancelled-by-user": Sentence(mark("You stopped the command.")),
    **ASK_DEVICE,
    **ASK_PAGE,
}
