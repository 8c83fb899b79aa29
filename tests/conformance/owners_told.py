"""What the chapter about a device's owner tells of a product that does well."""

from __future__ import annotations

from typing import Any

from modelota.conformance.chapters.owners import FIRST, SECOND, Owner

OLD, NEW = "a" * 64, "b" * 64


def notice(kind: str, key: str) -> dict[str, Any]:
    return {"kind": kind, "key": key, "digest": OLD, "path": f"/offers/{OLD}", "due_at": "2026-11-24T12:00:10Z"}


def answer(number: int, given: str, state: str) -> dict[str, Any]:
    at = f"2026-11-24T12:00:0{number}Z"
    return {"id": number, "answer": given, "state": state, "authority": "uid:0", "channel": "page", "at": at}


def good_owner(**changes: Any) -> Owner:
    """The chapter, with some of its fields changed."""
    text = f"{FIRST} 首个版本 First release 1.0 MB 约 6 秒 about 6 seconds {OLD}"
    fields: dict[str, Any] = {
        "offer": {"digest": OLD, "offer": {"to_version": FIRST, "planned_bytes": 1_000_000}},
        "table": {"version": FIRST, "notes": {"zh-CN": "首个版本", "en": "First release"}},
        "pages": {"zh": text, "en": text},
        "policy": {"content-security-policy": "default-src 'none'; script-src 'self'; frame-ancestors 'none'"},
        "strangers": {"a-link-used-twice": 410, "no-link": 401, "a-foreign-host": 403},
        "notices": [notice("offer", f"offer {OLD}")],
        "notified": [{"kind": "notification", "data": {}}],
        "later": {
            "status": 200,
            "remind_at": "2026-11-24T12:00:08Z",
            "before": 0,
            "reminders": [notice("reminder", f"reminder {OLD} 1")],
            "offer_stands": True,
        },
        "revoked": {
            "accepted": 200,
            "revocable": True,
            "expires_at": "2026-12-01T12:00:00Z",
            "status": 200,
            "offer_stands": True,
            "twice": 409,
            "content_bytes": 0,
        },
        "stale": {"changed": True, "status": 409, "shows_the_new_one": True, "phase": "offered", "content_bytes": 0},
        "answers": [answer(1, "later", "superseded"), answer(2, "accept", "revoked"), answer(3, "accept", "done")],
        "progress": "downloading 8.0 kB of 1.0 MB (0 %)",
        "done": f"{SECOND} is installed and in use.",
        "removal": "Back up your data first",
        "kept": SECOND,
    }
    return Owner(**{**fields, **changes})
