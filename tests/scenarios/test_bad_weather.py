"""No network, a full disk, a server that misbehaves, expired metadata, a withdrawal on the way, a damaged database."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from modelota.agent.jobs import Jobs
from modelota.agent.worker_link import Job
from modelota.errors import ModelotaError
from modelota.repository.control import control
from modelota.spec.api import CheckRequest
from modelota.spec.limits import MIB
from modelota.testing.clock import ManualClock
from modelota.testing.device import DeviceGoneError, DeviceUnderTest
from modelota.testing.network import IgnoreRange, InstrumentedServer, LieAboutSize, Slow, Stall, Status
from tests.scenarios.conftest import Publisher, heavy_model
from tests.scenarios.test_power_loss import wait_until

Installed = tuple[Publisher, DeviceUnderTest]
MODEL = "acme/assistant"


def served_device(publisher: Publisher, server: InstrumentedServer) -> DeviceUnderTest:
    """A device that reads the repository through `server`."""
    return publisher.device(url=server.url)


def test_without_a_network_the_check_says_so_and_nothing_changes(publisher: Publisher) -> None:
    """A check without a network is an error to try later; the journal knows when it was last tried."""
    publisher.publish("1.1.1", kind="feature")
    with InstrumentedServer(publisher.public) as server:
        device = served_device(publisher, server)
    with device.running():
        status, answer = device.request("POST", "/v1/check", {})
        assert (status, answer["code"], answer["now"]) == (503, "network-unreachable", "not-installed")
        assert device.status()["phase"] == "idle"
        assert device.log()[-1]["event"] == "check-failed"


def test_a_download_that_loses_the_network_goes_on_by_itself(publisher: Publisher) -> None:
    """When the network is back the supervisor goes on with what was accepted, and fetches only what is missing."""
    publisher.publish("1.1.1", kind="feature")
    with InstrumentedServer(publisher.public) as server:
        server.script("packs/*", Status(503), times=6)
        device = served_device(publisher, server)
        with device.running():
            device.decide(device.check()["digest"])
            status = device.wait("fetching", paused=True)
            assert status["waits_for"] == ["server-error"]
            assert device.settle()["active_version"] == "1.1.1"


@pytest.mark.parametrize(
    ("fault", "code"), [(IgnoreRange(), "server-ignores-ranges"), (LieAboutSize(-7), "server-lies-about-size")]
)
def test_a_server_that_cheats_ends_the_update(publisher: Publisher, fault: object, code: str) -> None:
    """A server that ignores ranges or lies about sizes is refused with its own code."""
    publisher.publish("1.1.1", kind="feature")
    with InstrumentedServer(publisher.public) as server:
        server.script("packs/*", fault)  # type: ignore[arg-type]
        device = served_device(publisher, server)
        with device.running():
            status = device.update()
        assert status["active_version"] is None
        assert status["last_outcome"]["error"]["code"] in {code, "pack-tampered"}


def test_a_full_disk_pauses_and_freeing_space_goes_on(installed: Installed) -> None:
    """A disk that fills up during the download pauses the update with its reason; later it goes on."""
    publisher, device = installed
    publisher.publish("1.1.2")
    device.stop()
    device.start(faults_armed="fetch.frame@1=ENOSPC")
    device.decide(device.check()["digest"])
    status = device.wait("fetching", paused=True)
    assert status["waits_for"] == ["no-space"]
    assert status["active_version"] == "1.1.1"
    assert "version 1.1.1" in device.chat("Who are you?")
    device.stop()
    device.start()
    assert device.settle()["active_version"] == "1.1.2"


def test_a_full_disk_does_not_keep_the_version_in_use_from_being_served(installed: Installed) -> None:
    """An agent that starts on a full disk in the middle of an update serves, and goes on once there is space."""
    publisher, device = installed
    publisher.publish("1.1.2")
    device.stop()
    device.start(faults_armed="fetch.frame@1=ENOSPC")
    device.decide(device.check()["digest"])
    device.wait("fetching", paused=True)
    device.kill()
    device.start(faults_armed=";".join(["journal.commit@1=ENOSPC"] * 2))
    assert "version 1.1." in device.chat("Who are you?")
    wait_until(lambda: device.status()["active_version"] == "1.1.2")


def test_a_withdrawal_learnt_on_the_way_stops_the_update(installed: Installed) -> None:
    """A release that is withdrawn between the offer and the start of the download is not fetched."""
    publisher, device = installed
    publisher.publish("1.1.2")
    offer = device.check()
    withdraw(publisher, "1.1.2")
    device.decide(offer["digest"])
    status = device.settle()
    assert status["active_version"] == "1.1.1"
    assert status["last_outcome"]["error"]["code"] == "release-withdrawn"
    versions = {view["version"]: view["state"] for view in device.ask("GET", "/v1/versions")["versions"]}
    assert versions["1.1.2"] == "withdrawn"
    assert device.ask("POST", "/v1/check", {})[0]["refused"][0]["code"] == "release-withdrawn"


def test_a_withdrawal_during_the_download_stops_it(publisher: Publisher) -> None:
    """A check during a long download does not wait for it, and a withdrawal that it learns ends the update."""
    publisher.publish("1.1.1", heavy_model(16), kind="feature")
    with InstrumentedServer(publisher.public) as server:
        server.script("packs/*", Slow(bytes_per_s=MIB))
        device = served_device(publisher, server)
        with device.running():
            device.decide(device.check()["digest"])
            wait_until(lambda: server.sent_bytes("packs/*") > 0)
            withdraw(publisher, "1.1.1")
            device.ask("POST", "/v1/check", {})
            outcome = device.settle()["last_outcome"]
        assert (outcome["result"], outcome["error"]["code"]) == ("failed", "release-withdrawn")


def test_a_check_does_not_lift_the_ceiling(publisher: Publisher) -> None:
    """Bytes received under an accepted offer stay counted whatever checks happen; an acceptance starts anew."""
    publisher.publish("1.1.1", heavy_model(8), kind="feature")
    with InstrumentedServer(publisher.public) as server:
        server.script("packs/*", Slow(bytes_per_s=4 * MIB))
        device = served_device(publisher, server)
        with device.running():
            digest = device.check()["digest"]
            device.decide(digest)
            wait_until(lambda: server.sent_bytes("packs/*") > 5 * MIB)
            device.ask("POST", "/v1/pause", {})
            spent = spent_bytes(device, digest)
            assert spent > 0
            device.check()
            assert spent_bytes(device, digest) == spent
            device.ask("POST", "/v1/cancel", {})
            device.settle()
            device.decide(device.check()["digest"])
            assert spent_bytes(device, digest) < spent


def spent_bytes(device: DeviceUnderTest, digest: str) -> int:
    """What the device counted against the ceiling of an offer."""
    db = sqlite3.connect(f"file:{device.layout.database}?mode=ro", uri=True)
    try:
        return int(db.execute("SELECT spent_bytes FROM offers WHERE digest = ?", (digest,)).fetchone()[0])
    finally:
        db.close()


def withdraw(publisher: Publisher, version: str) -> None:
    """Publish a control that withdraws `version`."""
    control(
        publisher.workspace,
        MODEL,
        clock=publisher.clock,
        passphrases=publisher.passphrases,
        withdraw={version: "wrong-answers"},
    )


async def test_an_accepted_update_goes_on_after_the_metadata_expired(publisher: Publisher) -> None:
    """Freshness is needed for the offer; what was accepted is pinned and goes on (design decision 2)."""
    publisher.publish("1.1.1", kind="feature")
    device = publisher.device()
    now = publisher.clock.now()
    found = await job(Jobs(device.root), "check", model=MODEL, allow_stale=False)
    later = Jobs(device.root, ManualClock(now + timedelta(days=4000)))
    with pytest.raises(ModelotaError) as caught:
        await job(later, "check", model=MODEL, allow_stale=False)
    assert caught.value.code == "metadata-expired"
    facts = await job(later, "rechecking", offer_digest=found.offer_digest)
    assert facts == {"refreshed": False, "code": "metadata-expired"}
    for kind in ("fetching", "verifying", "deploying"):
        await job(later, kind, offer_digest=found.offer_digest)
    assert (device.layout.model(MODEL).slots / "1.1.1+q8/files/model.bin").exists()


async def test_stale_media_need_a_separate_decision(publisher: Publisher) -> None:
    """Expired metadata is used only when its owner says so, and the offer says since when it is stale."""
    publisher.publish("1.1.1", kind="feature")
    device = publisher.device()
    later = Jobs(device.root, ManualClock(publisher.clock.now() + timedelta(days=400)))
    with pytest.raises(ModelotaError) as caught:
        await job(later, "check", model=MODEL, allow_stale=False)
    assert caught.value.code == "metadata-expired"
    found = await job(later, "check", model=MODEL, allow_stale=True)
    view = later._journal.offer(found.offer_digest)
    assert view is not None
    assert view.offer.stale_since is not None
    assert CheckRequest().allow_stale is False


async def job(worker: Jobs, kind: str, **arguments: object) -> object:
    """Run one job in this process."""
    return await worker.run(Job(number=1, kind=kind, arguments=arguments), lambda _done, _total: None)


def test_a_stalled_server_can_be_cancelled(publisher: Publisher) -> None:
    """An update that waits for a silent server answers a cancel at once."""
    import threading

    publisher.publish("1.1.1", kind="feature")
    with InstrumentedServer(publisher.public) as server:
        server.script("packs/*", Stall(after_bytes=10, until=threading.Event()))
        device = served_device(publisher, server)
        with device.running():
            device.decide(device.check()["digest"])
            wait_until(lambda: server.sent_bytes("packs/*") > 0)
            device.ask("POST", "/v1/cancel", {})
            assert device.settle()["last_outcome"]["result"] == "cancelled"


def test_an_unreadable_database_is_not_replaced(installed: Installed) -> None:
    """A damaged database changes nothing and is not replaced: what is in use is served, and the error is told."""
    _, device = installed
    device.stop()
    for name in ("agent.db-wal", "agent.db-shm"):
        (device.root / name).unlink(missing_ok=True)
    device.layout.database.write_bytes(b"garbage" * 1000)
    device.start()
    assert device.status()["error"]["code"] == "database-unreadable"
    assert "version 1.1.1" in device.chat("Who are you?")
    device.stop()
    assert device.layout.database.read_bytes() == b"garbage" * 1000


def test_a_root_that_others_may_write_is_refused(installed: Installed) -> None:
    """A device root that other users may write to is not used."""
    _, device = installed
    device.stop()
    device.root.chmod(0o777)
    with pytest.raises(DeviceGoneError):
        device.start()
    assert "root-not-private" in (device.root.parent / f"{device.root.name}.log").read_text()
    device.root.chmod(0o700)


def test_a_repository_that_is_gone_does_not_disturb_what_runs(installed: Installed) -> None:
    """Without its repository a device serves, restarts, and goes back as before."""
    publisher, device = installed
    publisher.publish("1.1.2")
    device.update()
    shutil.rmtree(publisher.public)
    device.stop()
    device.start()
    assert "version 1.1.2" in device.chat("Who are you?")
    assert device.ask("POST", "/v1/rollback", {})["started"]
    assert device.settle()["active_version"] == "1.1.1"
    assert Path(device.layout.model(MODEL).current).readlink() == Path("slots/1.1.1+q8")
