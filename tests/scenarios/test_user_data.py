"""The user's data through updates, ways back and a backup, and the reports of it all (6.3-c, 7.1.2-c, 7.2-a)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelota.i18n.deployment import report_lines, report_page
from modelota.repository.publish import publish
from modelota.testing.device import DeviceUnderTest
from tests.scenarios.conftest import DESCRIPTION, Publisher, bad_model, good_model

MODEL = "acme/assistant"


def release(publisher: Publisher, version: str, schema: int, model: bytes | None = None, requires: str = "") -> None:
    """Publish `version`, whose applications write data in the layout `schema`."""
    source = publisher.place / f"source-{version}"
    source.mkdir()
    (source / "model.bin").write_bytes(model or good_model(version))
    text = DESCRIPTION.format(
        version=version,
        kind="fix",
        permissions="[]",
        memory_bytes=0,
        expect="assistant",
        files='{ source = "model.bin" }',
    )
    text = text.replace("\n[requires]\n", f"user_data_schema = {schema}\n\n[requires]\n{requires}")
    (source / "release.toml").write_text(text, encoding="utf-8")
    publish(publisher.workspace, source / "release.toml", clock=publisher.clock, passphrases=publisher.passphrases)


@pytest.fixture
def device(publisher: Publisher) -> Iterator[DeviceUnderTest]:
    """A device on 1.1.1, running, with something of its owner's."""
    release(publisher, "1.1.1", 1)
    made = publisher.device()
    made.start()
    assert made.update()["active_version"] == "1.1.1"
    (place(made) / "diary").write_text("before the update")
    yield made
    if made.alive:
        made.stop()


def place(device: DeviceUnderTest) -> Path:
    return Path(device.status()["user_data"])


def back(device: DeviceUnderTest) -> None:
    assert device.ask("POST", "/v1/rollback", {})["started"]
    assert device.settle()["active_version"] == "1.1.1"


def test_the_same_layout_survives_untouched(publisher: Publisher, device: DeviceUnderTest) -> None:
    """What was written before and after the update is there after the way back."""
    release(publisher, "1.1.2", 1)
    assert device.update()["active_version"] == "1.1.2"
    (place(device) / "later").write_text("after the update")
    back(device)
    assert {path.name: path.read_text() for path in place(device).iterdir()} == {
        "diary": "before the update",
        "later": "after the update",
    }


def test_another_layout_comes_back_and_the_newer_is_kept(publisher: Publisher, device: DeviceUnderTest) -> None:
    """The copy of before is in place again, the newer data lie beside, and the journal says where."""
    release(publisher, "1.1.2", 2)
    assert device.update()["active_version"] == "1.1.2"
    (place(device) / "diary").write_text("migrated")
    back(device)
    assert (place(device) / "diary").read_text() == "before the update"
    entry = next(entry for entry in device.log() if entry["event"] == "user-data-restored")
    assert (Path(entry["facts"]["kept_beside"]) / "diary").read_text() == "migrated"
    saved = [entry for entry in device.log() if entry["event"] == "user-data-saved"]
    assert b"before the update" not in Path(saved[0]["facts"]["path"]).read_bytes()


def test_a_backup_comes_back(device: DeviceUnderTest, tmp_path: Path) -> None:
    """Through the socket: one file, which opens with its words only, and nobody writes the words down."""
    file, words = tmp_path / "mine.backup", "correct horse battery"
    made = device.ask("POST", "/v1/backup", {"path": str(file), "passphrase": words})
    assert made["size_bytes"] == file.stat().st_size
    (place(device) / "diary").unlink()
    status, _ = device.request("POST", "/v1/restore", {"path": str(file), "passphrase": "something else"})
    assert status == 400
    device.ask("POST", "/v1/restore", {"path": str(file), "passphrase": words})
    assert (place(device) / "diary").read_text() == "before the update"
    for path in device.root.rglob("*"):
        if path.is_file():
            assert words.encode() not in path.read_bytes(), path


def test_every_operation_is_reported(publisher: Publisher, device: DeviceUnderTest) -> None:
    """Install, a failed update, an update and a way back each have a report with times, places and resources."""
    release(publisher, "1.1.2", 1, bad_model())
    device.update()
    release(publisher, "1.1.3", 1)
    assert device.update()["active_version"] == "1.1.3"
    back(device)
    page = device.ask("GET", "/v1/reports?limit=10")
    reports = [entry["report"] for entry in reversed(page["reports"])]
    told = [(one["operation"], one["result"], one["to_version"]) for one in reports]
    assert told == [
        ("install", "done", "1.1.1"),
        ("update", "failed", "1.1.2"),
        ("update", "done", "1.1.3"),
        ("rollback", "done", "1.1.1"),
    ]
    failed, updated, returned = reports[1:]
    assert failed["error"]["code"] == "self-test-failed"
    assert failed["self_test"]["verdict"] == "failed"
    steps = {step["step"]: step for step in updated["steps"]}
    assert set(steps) >= {"rechecking", "fetching", "verifying", "deploying", "testing", "activating"}
    assert updated["fetched_bytes"] == updated["planned_bytes"] > 0
    assert updated["peak_extra_bytes"] > 0
    assert updated["cpu_s"] > 0
    assert updated["peak_memory_bytes"] > 1_000_000
    assert updated["decision"]["channel"] == "host"
    assert updated["decision"]["authority"].startswith("uid:")
    assert Path(updated["paths"]["slot"]).name == "1.1.3+q8"
    assert Path(updated["paths"]["snapshot"]).suffix == ".sealed"
    assert returned["offer_digest"] is None
    for one in reports:
        for language in ("en", "zh-CN"):
            assert one["to_version"] in report_page(one, language)
            assert any(one["to_version"] in line for line in report_lines(one, language))


def test_compute_is_measured_and_may_be_lacking(publisher: Publisher, device: DeviceUnderTest) -> None:
    """A release that demands more than the device can do is refused before a byte is fetched, with both figures."""
    release(publisher, "1.1.2", 1, requires="compute = { min_gops = 100000000.0 }\n")
    refused = [device.ask("POST", "/v1/check", {})[0]["refused"][0] for _ in range(2)][1]
    assert refused["code"] == "requirement-not-met"
    assert refused["params"]["requirement"] == "compute-gops"
    assert 0.1 < float(refused["params"]["found"]) < 1e6
    measured = [entry for entry in device.log() if entry["event"] == "compute-measured"]
    assert len(measured) == 1
    assert measured[0]["facts"]["circumstances"]["cores"] >= 1


def test_the_endpoint_is_part_of_the_proof(device: DeviceUnderTest) -> None:
    """What other applications rely on was checked on the candidate, through a gateway (clause 5.1-b)."""
    record = device.ask("GET", "/v1/self-tests")[-1]["record"]
    contract = next(result for result in record["results"] if result["kind"] == "contract")
    assert contract["verdict"] == "passed"
    assert contract["figures"]["checked"] >= 4
