"""Engines as child processes: start, health, failure, and who dies with whom. With the scripted engine."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
import pytest
from tests.runtime.conftest import MakeSpec, engine_file
from tests.runtime.processes import all_gone, command_line, engine_in_a_parent, is_alive, open_files, parent_of, until

from modelota import faults
from modelota.clock import SystemClock
from modelota.errors import AskPerson, ModelotaError, RefuseContent, TryLater
from modelota.runtime import child, engine, enginelog
from modelota.runtime.client import EngineClient
from modelota.runtime.engine import start_engine
from modelota.runtime.protocol import EngineFile
from modelota.telemetry.memory import process_tree

CLOCK = SystemClock()


def test_the_supervisor_side_mirrors_the_child_side() -> None:
    """Constants that both sides need, but only the child may import with blake3, are equal."""
    assert (engine.EXIT_DAMAGED, engine.REPORT) == (child.EXIT_DAMAGED, child.REPORT)


async def test_an_engine_starts_answers_and_stops(make_fake: MakeSpec) -> None:
    """The whole life of an engine; its socket is private and goes with it."""
    spec = make_fake(answers={"Who are you?": "I am fake"})
    running = await start_engine(spec, clock=CLOCK, timeout_s=30)
    assert not running.exited
    assert (await EngineClient(running.socket_path).chat("Who are you?", max_tokens=9)).text == "I am fake"
    assert running.socket_path.stat().st_mode & 0o077 == 0 or running.socket_path.parent.stat().st_mode & 0o077 == 0
    tree = process_tree(running.pid)
    assert len(tree) >= 2  # guardian and command
    assert await running.stop(grace_s=10) == 0
    assert running.exited
    assert not running.socket_path.exists()
    assert await all_gone(tree, 2) < 2
    assert await running.stop() == 0


async def test_the_command_reads_what_was_verified(make_fake: MakeSpec) -> None:
    """Exchanging the model file after the check changes nothing: the verified descriptor is what is read."""
    spec = make_fake(answers={"q": "verified"}, start_delay_s=0.0)
    running = await start_engine(spec, clock=CLOCK, timeout_s=30)
    entry = Path(spec.entry)
    command = process_tree(running.pid)[1]
    given = dict(line.split("=", 1) for line in Path(f"/proc/{command}/environ").read_text().split("\0") if "=" in line)
    entry.rename(entry.with_suffix(".old"))
    entry.write_bytes(b"something else")
    read = Path(given["MODELOTA_MODEL_FILE"]).read_bytes()
    assert read == entry.with_suffix(".old").read_bytes()
    assert (Path(given["MODELOTA_MODEL_FOLDER"]) / entry.name).read_bytes() == read
    await running.stop()


async def test_an_engine_sees_no_secrets_of_the_environment(
    make_fake: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passphrases given to the supervisor through its environment do not reach other people's code."""
    monkeypatch.setenv("MODELOTA_PASSPHRASE", "open sesame")
    running = await start_engine(make_fake(), clock=CLOCK, timeout_s=30)
    for pid in process_tree(running.pid):
        assert b"sesame" not in Path(f"/proc/{pid}/environ").read_bytes()
    await running.stop()


@pytest.mark.parametrize("damage", ["flip", "short", "long", "missing", "link"])
async def test_a_damaged_slot_is_refused_by_name(make_fake: MakeSpec, damage: str) -> None:
    """Any difference from the manifest ends the child before anything is loaded, and names the file."""
    spec = make_fake()
    entry = Path(spec.entry)
    data = bytearray(entry.read_bytes())
    entry.unlink()
    if damage == "flip":
        data[5] ^= 1
    elif damage == "short":
        data = data[:-1]
    elif damage == "long":
        data += b"x"
    if damage == "link":
        entry.with_suffix(".old").write_bytes(data)
        entry.symlink_to(entry.with_suffix(".old"))
    elif damage != "missing":
        entry.write_bytes(data)
    with pytest.raises(RefuseContent) as caught:
        await start_engine(spec, clock=CLOCK, timeout_s=30)
    assert caught.value.code == "slot-damaged"
    assert caught.value.params == {"slot": spec.label, "path": spec.entry}


async def test_an_entry_outside_the_files_is_refused(make_fake: MakeSpec) -> None:
    """Nothing that was not verified can be named as the model."""
    spec = msgspec.structs.replace(make_fake(), entry="/etc/passwd")
    with pytest.raises(TryLater, match="engine-start-failed"):
        await start_engine(spec, clock=CLOCK, timeout_s=30)


async def test_a_failing_start_tells_the_last_lines(make_fake: MakeSpec) -> None:
    """What the engine printed before it gave up is in the error and in the log."""
    spec = make_fake(exit_at_start=3)
    with pytest.raises(TryLater) as caught:
        await start_engine(spec, clock=CLOCK, timeout_s=30)
    assert caught.value.code == "engine-start-failed"
    assert "told to fail" in str(caught.value.params["detail"])
    assert "told to fail" in Path(spec.log_path).read_text()


async def test_an_engine_that_is_never_healthy_times_out(make_fake: MakeSpec) -> None:
    """It is ended with everything it started."""
    spec = make_fake(unhealthy=True)
    with pytest.raises(TryLater, match="engine-timeout"):
        await start_engine(spec, clock=CLOCK, timeout_s=0.4)
    assert not Path(spec.socket_path).exists()


async def test_a_crash_at_the_start_is_told_apart(make_fake: MakeSpec) -> None:
    """A child that a signal ended is a crash with that signal."""
    spec = make_fake(start_delay_s=60)
    starting = asyncio.ensure_future(start_engine(spec, clock=CLOCK, timeout_s=30))
    await until(lambda: bool(guardians()))
    pids = guardians()
    os.kill(pids[0], signal.SIGKILL)
    with pytest.raises(TryLater) as caught:
        await starting
    assert (caught.value.code, caught.value.params["status"]) == ("engine-crashed", -signal.SIGKILL)


def guardians() -> list[int]:
    """Running guardians below this process."""
    return [pid for pid in process_tree(os.getpid())[1:] if is_alive(pid) and b"command_child" in command_line(pid)]


async def test_a_crash_later_is_seen_by_who_waits(make_fake: MakeSpec) -> None:
    """The status of the command reaches the supervisor; its helpers do not survive it."""
    running = await start_engine(make_fake(crash_after=1, helpers=2), clock=CLOCK, timeout_s=30)
    tree = process_tree(running.pid)
    client = EngineClient(running.socket_path)
    await client.chat("q", max_tokens=4)
    with pytest.raises(TryLater):
        await client.chat("q", max_tokens=4)
    assert await asyncio.wait_for(running.wait(), 10) == 128 + signal.SIGKILL
    assert await all_gone(tree, 5) < 5


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_no_engine_outlives_its_parent(make_fake: MakeSpec, number: signal.Signals) -> None:
    """However the supervisor dies, engine, guardian and stubborn helpers are gone within 2 s."""
    spec = make_fake(helpers=2)
    process, pid = await engine_in_a_parent(spec)
    tree = process_tree(pid)
    assert len(tree) == 4  # guardian, command, two helpers
    process.send_signal(number)
    await process.wait()
    assert await all_gone(tree, 5) < 2


@pytest.mark.parametrize("runtime", ["command", pytest.param("llama.cpp", marks=pytest.mark.engine)])
async def test_an_engine_that_still_verifies_dies_with_its_parent(make_fake: MakeSpec, runtime: str) -> None:
    """A model that takes minutes to read does not keep its child alive for minutes."""
    spec = make_fake()
    entry = Path(spec.entry)
    os.truncate(entry, 1 << 40)
    file = EngineFile(path=spec.entry, size_bytes=1 << 40, digest="0" * 64)
    process = await parent_of(msgspec.structs.replace(spec, runtime=runtime, files=(file,)))

    def readers() -> list[int]:
        return [pid for pid in process_tree(process.pid)[1:] if str(entry) in open_files(pid)]

    await until(lambda: bool(readers()))
    verifying = readers()
    assert verifying
    process.kill()
    await process.wait()
    assert await all_gone(verifying, 5) < 2


async def test_a_killed_guardian_takes_the_command_along(make_fake: MakeSpec) -> None:
    """Killing only the process in between leaves no engine that nobody watches."""
    running = await start_engine(make_fake(), clock=CLOCK, timeout_s=30)
    tree = process_tree(running.pid)
    os.kill(running.pid, signal.SIGKILL)
    assert await running.wait() == -signal.SIGKILL
    assert await all_gone(tree, 5) < 2


async def test_missing_runtimes_and_commands_ask_a_person(make_fake: MakeSpec) -> None:
    """What is not installed or not configured is said before anything starts."""
    spec = make_fake()
    for changed in ({"runtime": "no-such"}, {"profile_argv": ()}):
        with pytest.raises(AskPerson, match="runtime-missing"):
            await start_engine(msgspec.structs.replace(spec, **changed), clock=CLOCK, timeout_s=30)
    gone = msgspec.structs.replace(spec, profile_argv=("/no/such/command",))
    with pytest.raises(TryLater) as caught:
        await start_engine(gone, clock=CLOCK, timeout_s=30)
    assert "/no/such/command" in str(caught.value.params["detail"])


async def test_a_socket_that_others_could_reach_is_refused(make_fake: MakeSpec) -> None:
    """An engine has no authentication of its own, so its directory must be private."""
    spec = make_fake()
    Path(spec.socket_path).parent.chmod(0o755)
    with pytest.raises(AskPerson) as caught:
        await start_engine(spec, clock=CLOCK, timeout_s=30)
    assert (caught.value.code, caught.value.params["mode"]) == ("root-not-private", "0o755")


async def test_the_fail_point_comes_before_the_child(make_fake: MakeSpec) -> None:
    """An armed `engine.start` raises and leaves nothing running."""
    faults.arm("engine.start@1=EIO")
    try:
        with pytest.raises(TryLater, match=r"engine\.start"):
            await start_engine(make_fake(), clock=CLOCK, timeout_s=30)
    finally:
        faults.arm("")
    assert not guardians()


async def test_cancelling_a_start_leaves_nothing(make_fake: MakeSpec) -> None:
    """Giving up while it starts ends the child."""
    spec = make_fake(start_delay_s=60)
    starting = asyncio.ensure_future(start_engine(spec, clock=CLOCK, timeout_s=60))
    await until(lambda: bool(guardians()))
    pids = guardians()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert await all_gone(pids, 5) < 2


async def test_the_log_is_bounded(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that prints without end fills neither disk nor memory; its newest words are kept."""
    monkeypatch.setattr(enginelog, "LOG_MAX_BYTES", 50_000)
    path = run_dir / "engine.log"
    path.write_text("from an earlier life")
    log = enginelog.EngineLog(path)
    code = "import sys\nfor n in range(40000): print('line', n)\nprint('last words')"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=log.writer)
    log.start()
    await process.wait()
    log.finish()
    text = path.read_text()
    assert len(text) <= 50_000
    assert "earlier life" not in text
    assert text.endswith("last words\n")
    assert log.tail(100).endswith("last words")
    assert len(log.tail(100)) <= 100


async def test_many_files_and_names_are_verified(make_fake: MakeSpec) -> None:
    """Every file of a slot counts, not only the one that is opened; a damaged sibling is found."""
    spec = make_fake()
    place = Path(spec.entry).parent
    (place / "sub").mkdir()
    extra = []
    for index in range(20):
        path = place / "sub" / f"模型-{index}.bin"
        path.write_bytes(os.urandom(100))
        extra.append(engine_file(path))
    spec = msgspec.structs.replace(spec, files=(*spec.files, *extra))
    running = await start_engine(spec, clock=CLOCK, timeout_s=30)
    await running.stop()
    Path(extra[7].path).write_bytes(b"changed")
    with pytest.raises(ModelotaError) as caught:
        await start_engine(spec, clock=CLOCK, timeout_s=30)
    assert caught.value.params["path"] == extra[7].path
    assert isinstance(extra[7], EngineFile)
