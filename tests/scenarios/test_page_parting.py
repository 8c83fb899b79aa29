"""The owner parts with a model on the page, over HTTP: plan, backup, confirmation, proof (clause 7.3), and cleaning."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import httpx
import pytest

from modelota.testing.device import DeviceUnderTest
from tests.scenarios.conftest import Publisher

MODEL = "acme/assistant"
PASSPHRASE = "correct horse battery staple"
DEADLINE_S = 60.0


class Owner:
    """A person's browser without the pictures: follows a one-time link, keeps cookies, sends forms."""

    def __init__(self, device: DeviceUnderTest) -> None:
        link = httpx.URL(device.ask("POST", "/v1/page", {})["url"])
        self.origin = f"http://{link.host}:{link.port}"
        self.client = httpx.Client(base_url=self.origin, timeout=60.0)
        self.seen: list[str] = []  # every page and address
        self.get(str(link.raw_path, "ascii"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def get(self, path: str) -> str:
        """Open a view."""
        return self._took(self.client.get(path, follow_redirects=True))

    def post(self, path: str, page: str, /, **fields: str | list[str]) -> str:
        """Send a form that stands on `page`."""
        token = re.search(r'name="csrf" value="([^"]+)"', page)
        assert token is not None
        answer = self.client.post(
            path, data={"csrf": token[1], **fields}, headers={"origin": self.origin}, follow_redirects=True
        )
        return self._took(answer)

    def until(self, path: str, holds: Callable[[str], bool]) -> str:
        """Look at a view again and again until something holds."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            text = self.get(path)
            if holds(text):
                return text
        pytest.fail(f"{path}: {text}")

    def _took(self, answer: httpx.Response) -> str:
        self.seen += [answer.text, *(str(each.url) for each in (*answer.history, answer))]
        assert answer.status_code == 200, answer.text
        return answer.text


def field(page: str, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, f"{name} is not on {page}"
    return found[1]


def test_uninstall_with_backup_and_proof(installed: tuple[Publisher, DeviceUnderTest], tmp_path: Path) -> None:
    """What the plan showed goes, the backup opens, the proof can be kept; the passphrase is in no page and no log."""
    _, device = installed
    data = Path(device.status()["user_data"])
    data.mkdir(parents=True, exist_ok=True)
    (data / "notes.txt").write_text("mine")
    backup = tmp_path / "mine.backup"
    with Owner(device) as owner:
        plan = owner.get(f"/remove/plan?model={MODEL}&reason=user&user_data=remove")
        assert str(device.layout.model(MODEL).slot("1.1.1+q8")) in plan
        assert str(data) in plan
        form = {"model": MODEL, "reason": "user", "user_data": "remove"}
        refused = owner.post("/remove/backup", plan, path=str(backup), passphrase=PASSPHRASE, again="another", **form)
        assert "The two differ" in refused
        assert not backup.exists()
        made = owner.post("/remove/backup", plan, path=str(backup), passphrase=PASSPHRASE, again=PASSPHRASE, **form)
        assert str(backup) in made
        assert backup.stat().st_size > 0

        digest = field(made, "plan_digest")
        unsure = owner.post("/remove", made, plan_digest=digest, **form)
        assert "Please tick the box" in unsure
        assert device.status()["active_version"] == "1.1.1"
        owner.post("/remove", unsure, plan_digest=digest, sure="yes", **form)
        done = owner.until(f"/removed/{digest}", lambda page: "proof.json" in page)
        assert str(data) in done
        assert device.settle()["active_version"] is None
        assert not data.exists()
        kept = owner.client.get(f"/removed/{digest}/proof.json")
        assert kept.json() == device.ask("GET", f"/v1/removals/{digest}")
        assert "The model was uninstalled" in owner.get("/history")
        assert "“accept” to uninstalling 1.1.1" in owner.get("/answers")

        restore = {"path": str(backup), "passphrase": PASSPHRASE, "model": MODEL}
        device.ask("POST", "/v1/restore", restore)
        assert (data / "notes.txt").read_text() == "mine"
        decisions = [entry for entry in device.log() if entry["event"] in {"backup-made", "removal-asked"}]
        assert [entry["facts"].get("channel", "page") for entry in decisions] == ["page", "page"]
        device.stop()
        written = [path.read_text(errors="replace") for path in device.layout.log.rglob("*") if path.is_file()]
        written.append((device.root.parent / f"{device.root.name}.log").read_text(errors="replace"))
        written.append(str(device.layout.database.read_bytes()))
        for text in (*owner.seen, *written):
            assert PASSPHRASE not in text
            assert PASSPHRASE.replace(" ", "+") not in text


def test_a_plan_that_was_overtaken_removes_nothing(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """A page that was open while the device moved on to another version can't remove what it never showed.

    And the page's figures are the device's: what was asked through the gateway is counted.
    """
    publisher, device = installed
    with Owner(device) as owner:
        old = owner.get(f"/remove/plan?model={MODEL}")
        publisher.publish("1.1.2")
        device.update()
        form = {"model": MODEL, "reason": "user", "user_data": "keep", "sure": "yes"}
        told = owner.post("/remove", old, plan_digest=field(old, "plan_digest"), **form)
        assert "Something else would be removed now" in told
        assert str(device.layout.model(MODEL).slot("1.1.2+q8")) in told
        assert field(told, "plan_digest") != field(old, "plan_digest")
        assert device.status()["active_version"] == "1.1.2"
        assert "Nothing was counted yet" in owner.get("/usage")
        device.chat("Who are you?")
        assert re.search(r"<b>1</b><span>requests answered</span>", owner.get("/usage"))


def test_cleaning_on_the_page(installed: tuple[Publisher, DeviceUnderTest], tmp_path: Path) -> None:
    """A copy that somebody made is found below a directory, ticked, and gone; the proof says so."""
    _, device = installed
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    slot = device.layout.model(MODEL).slot("1.1.1+q8")
    (elsewhere / "copy.bin").write_bytes(next(slot.rglob("model.bin")).read_bytes())
    digest = device.ask("POST", "/v1/removal/plan", {})["digest"]
    device.ask("POST", "/v1/removal", {"plan_digest": digest})
    device.settle()
    with Owner(device) as owner:
        start = owner.get("/cleaning")
        owner.post("/cleaning/scan", start, deep="yes", within=str(elsewhere))
        findings = owner.until("/cleaning", lambda page: "plan_digest" in page)
        assert str(elsewhere / "copy.bin") in findings
        probable = re.findall(r'name="probable" value="([0-9a-f]{12})"', findings)
        form = {"plan_digest": field(findings, "plan_digest"), "probable": probable, "sure": "yes"}
        owner.post("/cleaning", findings, **form)
        owner.until("/cleaning", lambda page: "proof.json" in page)
        assert not (elsewhere / "copy.bin").exists()
        proof = owner.client.get("/cleaning/proof.json").json()
        assert [each["path"] for each in proof["removals"]] == [str(elsewhere / "copy.bin")]
