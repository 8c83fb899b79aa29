"""Cleaning through the socket of a real agent: a copy is found after the model is gone, and removed when confirmed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from modelota.testing.device import DeviceUnderTest
from tests.scenarios.conftest import Publisher, heavy_model

COMMAND = [str(Path(sys.executable).parent / "modelota")]


def settled(device: DeviceUnderTest, timeout_s: float = 60.0) -> Any:
    """How the cleaning stands once nothing of it runs."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        view = device.ask("GET", "/v1/cleaning")
        if view["state"] not in {"scanning", "removing"}:
            return view
    raise AssertionError(view)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with a copy of the model, a part of it, and something else."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter").write_text("mine")
    return home


@pytest.fixture
def device(publisher: Publisher, home: Path) -> DeviceUnderTest:
    """A device that had a model, of which somebody took copies, and that does not run."""
    publisher.publish("1.1.1", kind="feature", beside={"weights.bin": heavy_model(3)})
    device = publisher.device()
    with device.running():
        device.update()
        files = device.layout.model("acme/assistant").slot("1.1.1+q8") / "files"
        shutil.copyfile(files / "weights.bin", home / "holiday")
        (home / "part").write_bytes((files / "weights.bin").read_bytes()[500_000:1_500_000])
        plan = device.ask("POST", "/v1/removal/plan", {})
        device.ask("POST", "/v1/removal", {"plan_digest": plan["digest"], "channel": "host"})
        device.settle()
    return device


def test_scan_confirm_remove(device: DeviceUnderTest, home: Path) -> None:
    """Nothing goes before it is confirmed, then what is certain and what was named; a restart forgets neither."""
    with device.running():
        assert device.ask("GET", "/v1/cleaning")["state"] == "idle"
        begun = device.ask("POST", "/v1/cleaning/scan", {"within": str(home)})
        assert begun["state"] == "scanning"
        view = settled(device)
        assert (view["state"], view["certain"], view["probable"]) == ("found", 1, 1), view
        page = device.ask("GET", "/v1/cleaning/findings")
    found = {Path(each["path"]).name: each for each in page["findings"]}
    assert found["holiday"]["certainty"] == "certain"
    assert found["holiday"]["evidence"]["version"] == "1.1.1"
    assert sorted(os.listdir(home)) == ["holiday", "letter", "part"]  # noqa: PTH208  names
    with device.running():
        assert device.ask("GET", "/v1/cleaning")["plan_digest"] == view["plan_digest"], "after a restart"
        wrong = {"plan_digest": "5a", "probable": []}
        assert device.request("POST", "/v1/cleaning", wrong)[1]["code"] == "plan-changed"
        body = {"plan_digest": view["plan_digest"], "probable": [found["part"]["id"]], "channel": "host"}
        assert device.ask("POST", "/v1/cleaning", body)["state"] == "removing"
        done = settled(device)
        assert (done["state"], done["result"]["removed"], done["result"]["refused"]) == ("done", 2, 0), done
        removals = device.ask("GET", "/v1/cleaning/removals")["removals"]
        assert {Path(each["path"]).name: each["result"] for each in removals} == {
            "holiday": "removed",
            "part": "removed",
        }
        assert os.listdir(home) == ["letter"]  # noqa: PTH208  names
        events = [entry["event"] for entry in device.log() if "clean" in entry["event"]]
        assert events == ["cleaning-found", "cleaning-confirmed", "cleaned"]


def test_killed_while_it_removes(device: DeviceUnderTest, home: Path) -> None:
    """A worker that is killed is told of; the same plan is carried to its end by the next attempt."""
    shutil.copyfile(home / "holiday", home / "holiday-2")
    with device.running(faults_armed="clean.remove@2=kill"):
        device.ask("POST", "/v1/cleaning/scan", {"within": str(home)})
        view = settled(device)
        assert view["certain"] == 2
        body = {"plan_digest": view["plan_digest"], "channel": "host"}
        device.ask("POST", "/v1/cleaning", body)
        failed = settled(device)
        assert (failed["state"], failed["error"]["code"]) == ("failed", "worker-crashed")
        assert len(list(home.glob("holiday*"))) == 1, "one went before the kill"
    with device.running():
        device.ask("POST", "/v1/cleaning", body)
        done = settled(device)
        assert (done["state"], done["result"]["removed"], done["result"]["gone"]) == ("done", 1, 1), done
        assert list(home.glob("holiday*")) == []


def test_a_place_that_is_none_is_told(device: DeviceUnderTest, home: Path) -> None:
    """What the worker refuses is in the view, and the next scan begins anew."""
    with device.running():
        device.ask("POST", "/v1/cleaning/scan", {"within": str(home / "letter")})
        view = settled(device)
        assert (view["state"], view["error"]["code"]) == ("failed", "argument-invalid")
        device.ask("POST", "/v1/cleaning/scan", {})
        assert settled(device)["state"] == "found"
        assert device.ask("DELETE", "/v1/cleaning")["state"] == "idle"


def test_the_command_uses_the_agent_that_runs(device: DeviceUnderTest, home: Path, tmp_path: Path) -> None:
    """`device clean` shows the agent's findings, and writes the same proof as when it removes by itself."""
    words = [*COMMAND, "device", "clean", "--root", str(device.root), "--within", str(home)]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}

    def run(*more: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [*words, *more], env=environment, text=True, capture_output=True, timeout=120, check=False
        )
        assert result.returncode == expect, (result.stdout, result.stderr)
        return result

    with device.running():
        shown, error = [json.loads(line) for line in run("--json", expect=64).stdout.splitlines()]
        assert error["error"]["code"] == "decision-required"
        assert len(shown["ids"]) == len(shown["plan"]["findings"]) == 2
        assert device.ask("GET", "/v1/cleaning")["state"] == "found"
        proof = tmp_path / "proof.json"
        done = run("--accept", shown["digest"], "--proof", str(proof), "--lang", "zh")
        assert "清除" in done.stdout
        written = json.loads(proof.read_bytes())
    assert not (home / "holiday").exists()
    assert (home / "part").exists(), "nobody named it"
    assert [each["result"] for each in written["removals"]] == ["removed"]
    assert written["plan_digest"] == shown["digest"]
    alone = json.loads(run("--json", expect=64).stdout.splitlines()[0])  # no supervisor: by itself, with the same keys
    assert set(alone["plan"]) - {"format", "critical"} <= set(shown["plan"])
