"""The error tree: codes and parameters, no prose.

Rooted by what the caller should do, because that is the one question every caller asks::

    ModelotaError
    ├── TryLater        the same call may succeed later: network, busy holder, space that may be freed
    ├── RefuseContent   what was published, fetched or stored is not acceptable; trying again will not help
    ├── AskPerson       a person has to decide or repair something: consent, configuration, permission, input
    └── OurBug          an invariant of ours does not hold

Each error has a stable kebab-case *code*, listed in `CODES` with its branch and never reused for another meaning.
Prose belongs to `modelota.i18n`, which renders every code in every language: what happened, what to do.
`docs/errors.md` has one entry per code; a test keeps the three in step.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final


class ModelotaError(Exception):
    """Root of the tree; raise one of its branches.

    Args:
        code: a key of `CODES` that belongs to this branch.
        params: facts for the rendered message: plain strings, numbers, or None. Never secrets, never prose.

    Raises:
        KeyError: the code is not registered, or belongs to another branch (a bug at the raise site).
    """

    branch: ClassVar[str] = ""
    exit_status: ClassVar[int] = 1
    # How the device was left: a key of the i18n state sentences; None unless another process told it with the error.
    now: str | None = None
    now_params: Mapping[str, object] = MappingProxyType({})

    def __init__(self, code: str, /, **params: object) -> None:
        if CODES[code] != self.branch:
            raise KeyError(f"code {code!r} belongs to branch {CODES[code]!r}, not {self.branch!r}")
        super().__init__(code, params)
        self.code: Final = code
        self.params: Final = params

    def __str__(self) -> str:
        facts = ", ".join(f"{key}={value}" for key, value in self.params.items())
        return f"{self.code} ({facts})" if facts else self.code

    def __reduce__(self) -> tuple[object, ...]:
        return (error_from, (self.code, self.params))


class TryLater(ModelotaError):
    """The same call may succeed later without anyone changing anything."""

    branch = "try-later"
    exit_status = 75  # sysexits.h EX_TEMPFAIL


class RefuseContent(ModelotaError):
    """What was published, fetched or stored is not acceptable; repeating the call will not help."""

    branch = "refuse-content"
    exit_status = 65  # EX_DATAERR


class AskPerson(ModelotaError):
    """A person has to decide, correct an input, or repair something."""

    branch = "ask-person"
    exit_status = 64  # EX_USAGE


class OurBug(ModelotaError):
    """An invariant of modelota does not hold."""

    branch = "our-bug"
    exit_status = 70  # EX_SOFTWARE


_BRANCHES: Final = {branch.branch: branch for branch in (TryLater, RefuseContent, AskPerson, OurBug)}


def error_from(code: str, params: dict[str, object]) -> ModelotaError:
    """Rebuild an error that crossed a process boundary as its code and parameters.

    A code this version does not know (a newer peer sent it) becomes `OurBug("unknown-code")` carrying it.
    """
    branch = CODES.get(code)
    if branch is None:
        return OurBug("unknown-code", found=code)
    return _BRANCHES[branch](code, **params)


# One line per code. Retired codes stay, commented, so that they are never reused.
CODES: Final[dict[str, str]] = {
    # -- try later ----------------------------------------------------------------------------------------------
    "network-unreachable": "try-later",  # url, detail
    "network-interrupted": "try-later",  # url, detail
    "server-error": "try-later",  # url, status
    "object-missing": "try-later",  # url: published state is mid-change, or a mirror lags
    "device-busy": "try-later",  # path, holder: another agent owns this root
    "agent-not-running": "try-later",  # path
    "engine-start-failed": "try-later",  # slot, detail
    "engine-timeout": "try-later",  # slot, seconds
    "engine-crashed": "try-later",  # slot, status
    "worker-crashed": "try-later",  # job, status
    "releases-paused": "try-later",  # model, version: the publisher paused its releases
    "release-staged": "try-later",  # model, version: it is rolled out by and by, and this device's turn comes later
    "publish-conflict": "try-later",  # path: someone else published first
    "self-test-inconclusive": "try-later",  # test, detail
    "page-start-failed": "try-later",  # detail: the page's process could not be started
    "peer-unreachable": "try-later",  # path, detail: nothing answers on a Unix socket, or it broke off
    "peer-timeout": "try-later",  # path, seconds
    "peer-protocol": "try-later",  # path, detail: what answers is not HTTP as it should be, or says too much
    "disk-error": "try-later",  # path, detail: EIO and friends
    "update-waits": "try-later",  # version, waits_for: a gate is closed
    "short-pause": "try-later",  # version, need_bytes, free_bytes: memory does not hold two engines during a switch
    "answers-cut": "try-later",  # model, requests, seconds: the drain limit of the engine that was replaced
    # -- refuse content: what was published or fetched --------------------------------------------------------------
    "metadata-invalid": "refuse-content",  # role, detail
    "metadata-signature": "refuse-content",  # role, detail
    "metadata-expired": "refuse-content",  # role, expired_at, device_time
    "metadata-rollback": "refuse-content",  # role, floor, found
    "metadata-too-large": "refuse-content",  # role, limit_bytes
    "repository-not-found": "refuse-content",  # url
    "document-invalid": "refuse-content",  # document, detail
    "document-too-large": "refuse-content",  # document, limit_bytes, found_bytes
    "document-needs-newer": "refuse-content",  # document, field
    "model-not-in-repository": "refuse-content",  # model
    "release-not-admitted": "refuse-content",  # model, version
    "attempts-exhausted": "refuse-content",  # slot, phase: interrupted too often
    "release-withdrawn": "refuse-content",  # model, version, reason
    "manifest-mismatch": "refuse-content",  # model, version, detail
    "control-exceeds-authority": "refuse-content",  # model, detail
    "pack-invalid": "refuse-content",  # pack, detail
    "pack-tampered": "refuse-content",  # pack, frame
    "pack-key-missing": "refuse-content",  # device_class, epoch
    "object-damaged": "refuse-content",  # object, frame: a sealed local object (kept version, backup) does not open
    "archive-invalid": "refuse-content",  # object, detail: what opened is no archive of a directory
    "chunk-mismatch": "refuse-content",  # chunk, found
    "delta-invalid": "refuse-content",  # detail: coded bytes that are no delta, or not one against this base
    "file-mismatch": "refuse-content",  # path, expected, found
    "decode-limit": "refuse-content",  # limit_bytes
    "server-ignores-ranges": "refuse-content",  # url
    "server-lies-about-size": "refuse-content",  # url, expected_bytes, found_bytes
    "insecure-url": "refuse-content",  # url
    "self-test-failed": "refuse-content",  # test, detail
    "self-test-not-run": "refuse-content",  # test, detail
    "watch-errors": "refuse-content",  # share_percent, before_percent: it fails more answers than the version before
    "watch-slower": "refuse-content",  # tokens_per_s, before
    "watch-memory": "refuse-content",  # memory_bytes, before_bytes
    "slot-damaged": "refuse-content",  # slot, path
    "unsafe-path": "refuse-content",  # path
    "version-content-conflict": "refuse-content",  # version, other
    "audit-failed": "refuse-content",  # findings
    # -- ask person -------------------------------------------------------------------------------------------------
    "version-invalid": "ask-person",  # text, detail
    "description-invalid": "ask-person",  # path, detail
    "model-empty": "ask-person",  # path
    "model-changed": "ask-person",  # path
    "model-unreadable": "ask-person",  # path, detail
    "model-file-hostile": "ask-person",  # path, detail, limit, found: its header holds more than a limit allows
    "import-refused": "ask-person",  # path, detail: a model of others that is none, or is laid as a trap
    "import-choice": "ask-person",  # path, models: several, of which one has to be named
    "log-unreadable": "ask-person",  # path, detail: a server's log
    "repository-exists": "ask-person",  # path
    "not-a-repository": "ask-person",  # path, detail
    "self-test-missing": "ask-person",  # variant: it has no self-test, so it could not prove itself
    "archive-missing": "ask-person",  # model: publisher.toml names no place for the archive (clause 6.2-b)
    "kept-by-law": "ask-person",  # model, version, until: the archive keeps it (clause 6.2-b)
    "test-report-missing": "ask-person",  # model, version: it was not tested (clause 6.2-b)
    "test-report-stale": "ask-person",  # version, detail: the report is about something else
    "test-report-failed": "ask-person",  # version, variant, test, predecessors, detail (clause 6.4-a)
    # version, predecessor, least, step, changes, more: a smaller step than the changes demand (clause 6.1-b)
    "version-step-too-small": "ask-person",
    "interface-dropped": "ask-person",  # interface, predecessor: a core interface is gone (clause 6.4-a)
    "core-test-dropped": "ask-person",  # test, predecessor: a core self-test is gone or changed
    "version-exists": "ask-person",  # model, version
    "version-order": "ask-person",  # version, newest
    "baseline-unusable": "ask-person",  # version, detail: a differential package cannot start from it
    "incremental-without-base": "ask-person",  # detail: it was demanded
    "incremental-too-large": "ask-person",  # variant, base, size_bytes, full_bytes, percent, limit (clause 5.2.1-a)
    "key-missing": "ask-person",  # role, have, need
    "key-unlock-failed": "ask-person",  # key
    "passphrase-missing": "ask-person",  # key
    "metadata-expires-soon": "ask-person",  # role, expires_at
    "enrolment-invalid": "ask-person",  # path, detail
    "already-enrolled": "ask-person",  # path
    "not-enrolled": "ask-person",  # path
    "root-not-private": "ask-person",  # path, mode
    "root-untrusted": "ask-person",  # detail
    "root-of-other-user": "ask-person",  # path, user: root called, and its files would be root's
    "permission-denied": "ask-person",  # path
    "no-space": "ask-person",  # path, need_bytes, free_bytes
    "user-data-too-large": "ask-person",  # path, entries, size_bytes: more than a copy may hold
    "backup-not-opened": "ask-person",  # path: another passphrase, or a damaged file
    "backup-of-other-model": "ask-person",  # path, found, need
    "backup-newer-data": "ask-person",  # path, found, known: a layout of user data that the version in use can't read
    "file-exists": "ask-person",  # path
    "nothing-to-report": "ask-person",  # model
    "requirement-not-met": "ask-person",  # requirement, need, found
    "runtime-missing": "ask-person",  # runtime, need
    "no-runnable-variant": "ask-person",  # version, detail
    "no-offer": "ask-person",  # model
    "offer-not-shown": "ask-person",  # digest
    "offer-changed": "ask-person",  # digest, now
    "answer-expired": "ask-person",  # version, expired_at: an accepted update that did not begin to fetch in time
    "answer-unknown": "ask-person",  # id
    "answer-over": "ask-person",  # id, detail: done, expired, revoked or superseded
    "offer-expired": "ask-person",  # digest, expired_at
    "decision-required": "ask-person",  # digest
    "ceiling-exceeded": "ask-person",  # ceiling_bytes, need_bytes
    "update-in-progress": "ask-person",  # version, phase
    "no-update-in-progress": "ask-person",  # model
    "update-paused": "ask-person",  # version: someone paused it
    "not-now": "ask-person",  # action, phase
    "cannot-cancel": "ask-person",  # phase
    "release-failed-here": "ask-person",  # model, version: it was tried on this device and went back
    "version-not-kept": "ask-person",  # version
    "release-revoked": "ask-person",  # model, version, reason: its publisher says that it has a flaw
    "inhibitor-unknown": "ask-person",  # id
    "notice-unknown": "ask-person",  # id
    "no-session-bus": "ask-person",  # detail
    "no-browser": "ask-person",
    "notifier-running": "ask-person",  # path: of the device root
    "return-takes-long": "ask-person",  # duration_s: estimate of a way back, above five minutes (clause 6.3-b)
    "record-invalid": "ask-person",  # path, detail: not the record that a removed agent left
    "no-plan": "ask-person",  # digest: of no plan that was shown
    "plan-changed": "ask-person",  # digest, now: what would be removed is not what was shown
    "cleaning-in-progress": "ask-person",  # detail: `scanning` or `removing`
    "service-changed": "ask-person",  # path: of a unit that somebody changed after we wrote it
    "service-installed": "ask-person",  # path: of a unit that has to go first, with more rights than this user has
    "service-command-failed": "ask-person",  # command, detail
    "service-goes-on": "ask-person",  # model: its publisher ended no service
    "hardware-suits": "ask-person",  # model, version: this device meets what it requires
    "nothing-to-roll-back": "ask-person",  # model
    "no-model-installed": "ask-person",  # model
    "not-authorised": "ask-person",  # action, uid
    "request-invalid": "ask-person",  # detail
    "request-too-large": "ask-person",  # limit_bytes
    "route-unknown": "ask-person",  # path, versions: of the agent's interface
    "database-unreadable": "ask-person",  # path, detail
    "database-newer": "ask-person",  # path, found, known
    "nothing-to-recover": "ask-person",  # path
    "config-invalid": "ask-person",  # path, detail
    "clock-behind": "ask-person",  # device_time, floor
    "keyring-unavailable": "ask-person",  # detail
    "argument-invalid": "ask-person",  # argument, detail
    "cancelled-by-user": "ask-person",  # action
    "gateway-host-refused": "ask-person",  # host: DNS rebinding
    "gateway-origin-refused": "ask-person",  # origin: a web page
    "gateway-token-refused": "ask-person",
    "page-disabled": "ask-person",  # the settings say that there is no page
    "page-port-taken": "ask-person",  # port, detail
    "page-link-used": "ask-person",  # used, expired, unknown, or another user's: it does not say which
    "page-session-ended": "ask-person",
    "page-caller-refused": "ask-person",  # whoever claims to be the page's process is not
    "page-request-refused": "ask-person",  # detail: it did not come from the page itself, or is no form of it
    "page-not-found": "ask-person",  # path
    # -- our bug ----------------------------------------------------------------------------------------------------
    "unknown-code": "our-bug",  # found
    "invariant-broken": "our-bug",  # detail
    "unexpected": "our-bug",  # kind, detail
}
