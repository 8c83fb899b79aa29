"""The worker as a process: it belongs to one supervisor, imports only what is installed, and its absence has a code."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelota.agent.worker_link import WorkerLink
from modelota.errors import AskPerson, TryLater
from modelota.storage.durable import Disk
from modelota.storage.ledger import NoLedger

JOB = json.dumps({"number": 1, "kind": "check", "arguments": {"model": "acme/assistant", "allow_stale": False}})


def link(root: Path) -> WorkerLink:
    return WorkerLink(root, root / "worker.log", Disk((root,), NoLedger()))


async def test_nothing_is_imported_from_the_directory_the_agent_was_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package of our name, or a library's, in the working directory is not run: others may write there."""
    trap = "import pathlib; pathlib.Path(__file__).with_name('sprung').touch()\n"
    (tmp_path / "modelota").mkdir()
    (tmp_path / "modelota" / "__init__.py").write_text(trap)
    (tmp_path / "msgspec.py").write_text(trap)
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "root"
    root.mkdir()
    worker = link(root)
    with pytest.raises(AskPerson, match="not-enrolled"):
        await worker.run("check", {})
    await worker.aclose()
    assert [path.name for path in tmp_path.rglob("sprung")] == []


def test_a_job_of_a_supervisor_that_is_gone_is_not_begun(tmp_path: Path) -> None:
    """A worker that comes up after its parent was killed does nothing: the root may have another owner by now."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "modelota.agent.worker", str(tmp_path), "--parent=1"],
        input=f"{JOB}\n".encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == b""


async def test_no_process_to_be_had_is_tried_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system gives no process the job fails like one whose worker crashed."""

    async def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    worker = link(tmp_path)
    with pytest.raises(TryLater, match="worker-crashed"):
        await worker.run("check", {})
    await worker.aclose()


async def test_a_job_that_waits_for_its_turn_holds_nothing_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recheck behind another model's download keeps no check from refreshing what is trusted."""
    worker, holding, go, begun = link(tmp_path), asyncio.Lock(), asyncio.Event(), list[str]()

    async def carry_out(kind: str, *_: object) -> bytes:
        begun.append(kind)
        if kind == "fetching":
            await go.wait()
        else:
            assert holding.locked()
        return b"{}"

    monkeypatch.setattr(worker, "_run", carry_out)
    download = asyncio.create_task(worker.run("fetching", {}))
    recheck = asyncio.create_task(worker.run("rechecking", {}, holding=holding))
    while not begun:  # noqa: ASYNC110  a stub has no event to wait for
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not holding.locked()
    go.set()
    await asyncio.gather(download, recheck)
    assert begun == ["fetching", "rechecking"]
    await worker.aclose()
