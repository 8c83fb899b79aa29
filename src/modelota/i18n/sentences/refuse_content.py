"""Errors about content that is not acceptable, whoever asks again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelota.i18n.sentences.sentence import Sentence
from modelota.i18n.texts import mark

_TELL_PUBLISHER = mark("Tell the publisher of the model. Until it is corrected, keep using the version you have.")
_TELL_OPERATOR = mark("Tell whoever runs the repository. If you came here through another network, try a trusted one.")
_REFETCH = mark("Try again; damaged parts are fetched anew. If it goes on, tell whoever runs the repository.")

_NOT_AGAIN = mark("Nothing to do. This version is not offered again by itself; a corrected one will be.")

REFUSE_CONTENT: Final[Mapping[str, Sentence]] = {
    # -- trust ----------------------------------------------------------------------------------------------------
    "metadata-invalid": Sentence(mark("The repository's “{role}” metadata is not well-formed."), _TELL_OPERATOR),
    "metadata-signature": Sentence(
        mark("The repository's “{role}” metadata is not signed by enough of the keys this device trusts."),
        _TELL_OPERATOR,
    ),
    "metadata-expired": Sentence(
        mark("The repository's “{role}” metadata expired at {expired_at}; the device's time is {device_time}."),
        mark("Check the device's clock. If it is right, the publisher has to refresh the repository."),
    ),
    "metadata-rollback": Sentence(
        mark("The repository offered “{role}” metadata of number {found}, older than number {floor} seen before."),
        mark("Try again later: a mirror may lag behind. If it goes on, tell whoever runs the repository."),
    ),
    "metadata-too-large": Sentence(
        mark("The repository's “{role}” metadata is larger than the limit of {limit_bytes}."), _TELL_OPERATOR
    ),
    "repository-not-found": Sentence(
        mark("There is no model repository at {url}."),
        mark("Check the address in the enrolment file, or ask whoever runs the repository for the right one."),
    ),
    "insecure-url": Sentence(
        mark("{url} is not protected on the way. Unencrypted http is allowed on this device itself only."),
        mark("Use an address that starts with https."),
    ),
    "control-exceeds-authority": Sentence(
        mark("The control document of {model} tries to do more than pause, withdraw or slow down releases."),
        _TELL_PUBLISHER,
    ),
    # -- documents ------------------------------------------------------------------------------------------------
    "document-invalid": Sentence(mark("The signed document “{document}” is not well-formed."), _TELL_PUBLISHER),
    "document-too-large": Sentence(
        mark("The signed document “{document}” has {found_bytes}; the limit is {limit_bytes}."), _TELL_PUBLISHER
    ),
    "document-needs-newer": Sentence(
        mark("The signed document “{document}” needs something this version of modelota does not know: {field}."),
        mark("Bring modelota up to date, then try again."),
    ),
    "model-not-in-repository": Sentence(
        mark("The repository does not publish the model {model}."),
        mark("Check the model's name, or ask the publisher which repository has it."),
    ),
    "release-not-admitted": Sentence(
        mark("Version {version} of {model} is not among the releases its publisher admits."),
        mark("Choose another version; “modelota device versions” lists them."),
    ),
    "release-withdrawn": Sentence(
        mark("The publisher has withdrawn version {version} of {model} (reason: {reason})."),
        mark("Nothing to do. A corrected version will be offered when there is one."),
    ),
    "manifest-mismatch": Sentence(
        mark("The description of version {version} of {model} contradicts itself or the signed catalog."),
        _TELL_PUBLISHER,
    ),
    "unsafe-path": Sentence(
        mark("A file path in the release is not allowed: {path}."),
        mark("The publisher has to give the file an ordinary relative path."),
    ),
    "version-content-conflict": Sentence(
        mark("Version {version} and version {other} contradict each other: one version has exactly one content."),
        mark("Give changed content a new version number, and unchanged content its old one."),
    ),
    # -- packages -------------------------------------------------------------------------------------------------
    "pack-invalid": Sentence(mark("The pack {pack} is not well-formed."), _REFETCH),
    "pack-tampered": Sentence(mark("Frame {frame} of the pack {pack} was changed after it was sealed."), _REFETCH),
    "pack-key-missing": Sentence(
        mark("This device has no key of class {device_class}, epoch {epoch}, that opens the package."),
        mark("Get a new enrolment file from the publisher and add its key."),
    ),
    "archive-invalid": Sentence(
        mark("The copy of your data ({object}) is damaged inside and was not used."),
        mark("The data that are in place stay as they are. Use another copy or backup."),
    ),
    "chunk-mismatch": Sentence(mark("A part of the package is not what the publisher signed: {chunk}."), _REFETCH),
    "file-mismatch": Sentence(
        mark("{path} is not what the publisher signed: expected {expected}, found {found}."), _REFETCH
    ),
    "delta-invalid": Sentence(
        mark("A part of the update that describes a difference is damaged, or belongs to other content."),
        mark("Try the update again later; the parts concerned are then fetched whole."),
    ),
    "decode-limit": Sentence(
        mark("A part of the package unpacks to more than the limit of {limit_bytes}."), _TELL_PUBLISHER
    ),
    "server-ignores-ranges": Sentence(
        mark("The server of {url} cannot send parts of a file, so that an interrupted download could not go on."),
        mark("Whoever runs the repository has to put it on a server that supports range requests."),
    ),
    "server-lies-about-size": Sentence(
        mark("{url} should have {expected_bytes}, but the server sends {found_bytes}."), _TELL_OPERATOR
    ),
    "audit-failed": Sentence(
        mark("The audit of the repository found {findings} that a device would refuse or miss."),
        mark("Restore the files listed above from the archive, or publish them again."),
    ),
    # -- on the device ----------------------------------------------------------------------------------------------
    "self-test-failed": Sentence(
        mark("The new version did not pass the self-test “{test}” on this device."),
        _NOT_AGAIN,
        {
            "answer": mark("Its answer was not the one that was expected."),
            "bound": mark("It is slower than was promised, or takes more memory."),
            "perplexity": mark("It does worse with ordinary text than was promised."),
        },
    ),
    "self-test-not-run": Sentence(
        mark("The self-test “{test}” could not be run, and an untested version is not put to use."),
        mark("Nothing to do now. If it happens again, tell the publisher of the model."),
    ),
    "watch-errors": Sentence(
        mark("The new version failed {share_percent} % of its answers, the version before {before_percent} %."),
        _NOT_AGAIN,
    ),
    "watch-slower": Sentence(
        mark("The new version writes {tokens_per_s} tokens a second; the version before wrote {before}."),
        _NOT_AGAIN,
    ),
    "watch-memory": Sentence(
        mark("The new version takes {memory_bytes} of memory; the version before took {before_bytes}."),
        _NOT_AGAIN,
    ),
    "slot-damaged": Sentence(
        mark("The installed version {slot} is damaged at {path}."),
        mark("Mend it with “modelota device verify --repair”, or go back with “modelota device rollback”."),
    ),
    "attempts-exhausted": Sentence(
        mark("{slot} was interrupted too often ({phase}), so it is not tried any further."),
        mark("Nothing to do. To try once more, accept the version again."),
    ),
    "object-damaged": Sentence(
        mark("A stored object on this device is damaged: {object}."),
        mark("Fetch the version again, or check the disk if this happens repeatedly."),
    ),
}
