"""What the OpenAPI document says of each route besides the table itself: its group, its own error codes, examples.

Examples are values of the types that the table names, so they cannot be of another shape.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from modelota.spec import api, api_life
from modelota.spec.api_cleaning import CleaningView, FindingEvidence, FindingsPage, FindingView
from modelota.spec.api_owner import (
    CleaningAccept,
    CleaningRequest,
    DecisionsPage,
    DecisionView,
    ModelAbout,
    NoticeTold,
    PageLink,
    PageRequest,
)

_MODEL: Final = "acme/assistant"
_DIGEST: Final = "5a0c5fce6f5c1e2f0d5b0c6d4bc3a0c4f1f3c1d4c2a1b0f9e8d7c6b5a4938271"
_AT: Final = "2026-11-24T06:00:00Z"

# Any route may answer with these.
COMMON_ERRORS: Final = (
    "request-invalid",
    "argument-invalid",
    "request-too-large",
    "not-authorised",
    "route-unknown",
    "unexpected",
)


class Detail(NamedTuple):
    """Of one route.

    Attributes:
        tag: the group it belongs to.
        errors: codes that it has besides `COMMON_ERRORS`.
        request: example of a body.
        answer: example of an answer.
    """

    tag: str
    errors: tuple[str, ...] = ()
    request: msgspec.Struct | None = None
    answer: Any = None


_STATUS: Final = api.ModelStatus(
    model=_MODEL,
    phase="fetching",
    active_version="1.1.1",
    active_variant="q4",
    target_version="1.1.2",
    progress=api.Progress(step="fetching", done=1_048_576, total=8_388_608, rate_per_s=2_097_152.0, left_s=3.5),
)
_CLEANING: Final = CleaningView(
    state="found",
    deep=True,
    plan_digest=_DIGEST,
    certain=2,
    certain_bytes=4_294_967_296,
    probable=1,
    probable_bytes=1_048_576,
    files_seen=412_000,
    began_at=_AT,
    ended_at="2026-11-24T06:04:00Z",
)
_FINDINGS: Final = FindingsPage(
    plan_digest=_DIGEST,
    findings=(
        FindingView(
            id="1f2e3d4c5b6a",
            path="/home/ann/Downloads/model.gguf",
            kind="whole copy",
            certainty="certain",
            size_bytes=4_294_967_296,
            evidence=FindingEvidence(
                by="content", model=_MODEL, version="1.1.0", file="model.gguf", proven_bytes=4_294_967_296
            ),
        ),
    ),
)
_DECISION: Final = DecisionView(
    id=7,
    model=_MODEL,
    offer_digest=_DIGEST,
    to_version="1.1.2",
    answer="later",
    authority="uid:1000",
    channel="page",
    at=_AT,
    state="standing",
    remind_at="2026-11-25T06:00:00Z",
    revocable=True,
)
EVENT_EXAMPLE: Final = (
    "id: 42\nevent: progress\ndata: "
    + msgspec.json.encode(
        api.Event(id=42, at=_AT, kind="progress", model=_MODEL, data=msgspec.to_builtins(_STATUS.progress))
    ).decode()
    + "\n\n"
)

DETAILS: Final[dict[tuple[str, str], Detail]] = {
    ("GET", "/v1/status"): Detail("status"),
    ("GET", "/v1/about"): Detail(
        "status",
        answer=ModelAbout(
            model=_MODEL,
            title={"zh-CN": "小助手", "en": "Assistant"},
            version="1.1.2",
            variant="q4",
            runtime="llamacpp 0.3.16",
            interfaces={"chat": "1"},
            permissions=("microphone",),
            size_bytes=4_294_967_296,
            from_url="https://models.example/repository",
            signed_by=("6c098bafc98e9dbada278108301a1aaee64f6f97c4bef8f39a2d8d9d05bdeb98",),
        ),
    ),
    ("GET", "/v1/versions"): Detail("status"),
    ("GET", "/v1/log"): Detail("status"),
    ("GET", "/v1/reports"): Detail("status"),
    ("GET", "/v1/self-tests"): Detail("status"),
    ("GET", "/v1/events"): Detail("status"),
    ("GET", "/v1/openapi.json"): Detail("status"),
    ("POST", "/v1/check"): Detail(
        "update",
        ("network-unreachable", "metadata-expired", "metadata-signature", "repository-not-found", "update-in-progress"),
        request=api.CheckRequest(model=_MODEL),
    ),
    ("GET", "/v1/offers/{digest}"): Detail("update", ("no-offer",)),
    ("GET", "/v1/offers/{digest}/about"): Detail("update", ("no-offer",)),
    ("POST", "/v1/shown"): Detail(
        "update",
        ("no-offer",),
        request=api.ShownRequest(
            offer_digest=_DIGEST,
            language="zh-CN",
            text="小助手 1.1.2 可更新 · 修正单位换算 · 下载 38 MB · 约 6 分钟，期间可继续使用 · 无新增权限",
            channel="host",
        ),
        answer={},
    ),
    ("POST", "/v1/decisions"): Detail(
        "update",
        ("no-offer", "offer-changed", "offer-not-shown", "update-in-progress", "return-takes-long"),
        request=api.DecisionRequest(
            offer_digest=_DIGEST,
            answer="accept",
            conditions=("charging",),
            not_before="2026-11-24T22:30:00Z",
            channel="host",
        ),
        answer=_STATUS,
    ),
    ("GET", "/v1/decisions"): Detail("update", answer=DecisionsPage(decisions=(_DECISION,))),
    ("DELETE", "/v1/decisions/{id}"): Detail("update", ("answer-unknown", "answer-over"), answer=_DECISION),
    ("POST", "/v1/pause"): Detail(
        "update", ("no-update-in-progress", "not-now"), request=api.ControlRequest(), answer=_STATUS
    ),
    ("POST", "/v1/resume"): Detail(
        "update", ("no-update-in-progress", "not-now"), request=api.ControlRequest(), answer=_STATUS
    ),
    ("POST", "/v1/cancel"): Detail(
        "update", ("no-update-in-progress", "cannot-cancel"), request=api.ControlRequest(), answer=_STATUS
    ),
    ("POST", "/v1/rollback"): Detail(
        "update",
        (
            "nothing-to-roll-back",
            "update-in-progress",
            "no-model-installed",
            "version-not-kept",
            "version-invalid",
            "release-revoked",
        ),
        request=api.RollbackRequest(version="1.1.1", channel="host"),
        answer=api.RollbackResult(model=_MODEL, started=True),
    ),
    ("POST", "/v1/inhibitors"): Detail(
        "gates",
        request=api_life.InhibitorRequest(holder="rauc", reason="writes slot b", steps=("activate", "switch")),
    ),
    ("GET", "/v1/inhibitors"): Detail("gates"),
    ("DELETE", "/v1/inhibitors/{id}"): Detail("gates", ("inhibitor-unknown",)),
    ("POST", "/v1/conditions"): Detail("gates", request=api_life.ConditionsRequest(charging=True, parked=False)),
    ("GET", "/v1/conditions"): Detail("gates"),
    ("POST", "/v1/verify"): Detail(
        "life", ("update-in-progress", "no-space"), request=api_life.VerifyRequest(repair=True)
    ),
    ("POST", "/v1/removal/plan"): Detail(
        "life",
        ("no-model-installed", "service-goes-on", "hardware-suits"),
        request=api_life.RemovalPlanRequest(user_data="keep"),
    ),
    ("POST", "/v1/removal"): Detail(
        "life",
        ("no-plan", "plan-changed", "update-in-progress", "no-model-installed"),
        request=api_life.RemovalRequest(plan_digest=_DIGEST, channel="host"),
        answer=msgspec.structs.replace(_STATUS, phase="removing", progress=None),
    ),
    ("GET", "/v1/removals/{digest}"): Detail("life", ("no-plan",)),
    ("POST", "/v1/backup"): Detail(
        "life",
        ("file-exists", "permission-denied", "no-space", "disk-error"),
        request=api_life.BackupRequest(path="/media/stick/mine.backup", passphrase="eight words of your own choice"),  # noqa: S106  an example
    ),
    ("POST", "/v1/restore"): Detail(
        "life",
        ("update-in-progress", "backup-not-opened", "backup-of-other-model", "backup-newer-data", "archive-invalid"),
        request=api_life.BackupRequest(path="/media/stick/mine.backup", passphrase="eight words of your own choice"),  # noqa: S106  an example
    ),
    ("GET", "/v1/cleaning"): Detail("cleaning", answer=_CLEANING),
    ("POST", "/v1/cleaning/scan"): Detail(
        "cleaning",
        ("cleaning-in-progress",),
        request=CleaningRequest(deep=True),
        answer=CleaningView(state="scanning", deep=True, began_at=_AT),
    ),
    ("GET", "/v1/cleaning/findings"): Detail("cleaning", ("no-plan",), answer=_FINDINGS),
    ("POST", "/v1/cleaning"): Detail(
        "cleaning",
        ("cleaning-in-progress", "no-plan", "plan-changed"),
        request=CleaningAccept(plan_digest=_DIGEST, probable=("0a1b2c3d4e5f",), channel="host"),
    ),
    ("GET", "/v1/cleaning/removals"): Detail("cleaning", ("no-plan",)),
    ("DELETE", "/v1/cleaning"): Detail("cleaning", ("cleaning-in-progress",), answer=CleaningView()),
    ("GET", "/v1/notices"): Detail("owner"),
    ("POST", "/v1/notices/{id}"): Detail(
        "owner", ("notice-unknown",), request=NoticeTold(channel="host", dismiss=True)
    ),
    ("POST", "/v1/page"): Detail(
        "owner",
        ("page-disabled", "page-port-taken", "page-start-failed"),
        request=PageRequest(path="/", language="zh-CN"),
        answer=PageLink(url="http://127.0.0.1:40123/open/kq0…", expires_s=120),
    ),
    ("POST", "/v1/page/sessions"): Detail("owner", ("page-caller-refused", "page-link-used")),
    ("GET", "/v1/page/sessions/{id}"): Detail("owner", ("page-caller-refused", "page-session-ended")),
    ("DELETE", "/v1/page/sessions/{id}"): Detail("owner", ("page-caller-refused",)),
    ("POST", "/v1/chat"): Detail(
        "gateway",
        ("no-model-installed", "runtime-missing"),
        request=api.ChatRequest(),
        answer=api.ChatResult(model=_MODEL, version="1.1.2", gateway_socket="/var/lib/modelota/run/gateway.sock"),
    ),
    ("POST", "/v1/gateway/tokens"): Detail("gateway", request=api.TokenRequest(application="notes")),
}
