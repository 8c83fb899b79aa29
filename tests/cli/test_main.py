"""Whatever goes wrong is told with its code, in the language and form asked for, and gives the branch's exit status."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.cli.conftest import Run

from modelota.cli import version
from modelota.cli.failure import Reported
from modelota.errors import AskPerson, ModelotaError, OurBug, RefuseContent, TryLater


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Makes `modelota version` raise what the test puts in."""
    raised: list[BaseException] = []

    def python_version() -> str:
        raise raised[0]

    monkeypatch.setattr(version.platform, "python_version", python_version)
    return raised


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TryLater("device-busy", path="/d", holder="1"), 75),
        (RefuseContent("repository-not-found", url="u"), 65),
        (AskPerson("no-offer", model="m"), 64),
        (OurBug("invariant-broken", detail="d"), 70),
        (AskPerson("cancelled-by-user", action="a"), 130),
    ],
)
def test_exit_status_follows_the_branch(
    run: Run, failing: list[BaseException], error: ModelotaError, status: int
) -> None:
    """Each branch of the error tree has its status; standard output stays empty."""
    failing.append(error)
    ran = run("version")
    assert ran.status == status
    assert ran.out == ""
    assert ran.err.splitlines()[-1].split() == ["Code", error.code]


def test_error_in_chinese(run: Run, failing: list[BaseException]) -> None:
    """Four sentences in Chinese: what, state, remedy, code."""
    failing.append(Reported(AskPerson("no-offer", model="acme/assistant"), "serving", {"version": "1.1.1"}))
    ran = run("version", "--lang", "zh")
    assert [line.split()[0] for line in ran.err.splitlines()] == ["发生了什么", "现在的状态", "需要做什么", "代码"]
    assert "版本 1.1.1 仍在使用" in ran.err


def test_error_as_json(run: Run, failing: list[BaseException]) -> None:
    """With --json there is one object on standard output and nothing on standard error."""
    failing.append(Reported(AskPerson("no-offer", model="acme/assistant"), "serving", {"version": "1.1.1"}))
    ran = run("--json", "version")
    assert ran.err == ""
    assert set(ran.json) == {"error"}
    error = ran.json["error"]
    assert error["code"] == "no-offer"
    assert error["branch"] == "ask-person"
    assert error["params"] == {"model": "acme/assistant"}
    assert error["now"] == "serving"
    assert error["what"]
    assert error["state"] == "Version 1.1.1 stays in use and works as before."
    assert error["remedy"]


def test_json_takes_any_parameter(run: Run, failing: list[BaseException]) -> None:
    """Parameters that JSON does not know are given as text."""
    failing.append(AskPerson("no-offer", model=object()))
    assert "object" in run("version", "--json").json["error"]["params"]["model"]


def test_unexpected_exception(run: Run, failing: list[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is told as one; its traceback only with MODELOTA_DEBUG=1."""
    failing.append(ZeroDivisionError("x"))
    ran = run("version")
    assert ran.status == 70
    assert "ZeroDivisionError" in ran.err
    assert "Traceback" not in ran.err
    monkeypatch.setenv("MODELOTA_DEBUG", "1")
    assert "Traceback" in run("version").err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionError(13, "no", "/x"), "permission-denied"),
        (OSError(28, "full", "/x"), "no-space"),
        (FileNotFoundError(2, "none", "/x"), "argument-invalid"),
        (OSError(5, "io", "/x"), "disk-error"),
    ],
)
def test_operating_system_errors_have_codes(run: Run, failing: list[BaseException], error: OSError, code: str) -> None:
    """What a room did not name is still not a bug of ours."""
    failing.append(error)
    assert run("version", "--json").json["error"]["code"] == code


def test_ctrl_c_is_clean(run: Run, failing: list[BaseException]) -> None:
    """Interrupting gives 130, a code, and no traceback."""
    failing.append(KeyboardInterrupt())
    ran = run("version")
    assert ran.status == 130
    assert "cancelled-by-user" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("words", "argument", "detail"),
    [
        (["nonsense"], "nonsense", "unknown-command"),
        (["device", "nonsense"], "nonsense", "unknown-command"),
        (["version", "--nonsense"], "--nonsense", "unknown-option"),
        (["version", "a", "b"], "a b", "extra"),
        (["device", "init"], "ENROL.toml", "missing"),
        (["device", "log", "--after", "x"], "--after", "not-a-number"),
        (["device", "log", "--after", "-1"], "--after", "out-of-range"),
        (["device", "log", "--after"], "--after", "needs-value"),
        (["device"], "modelota device", "missing-command"),
        (["version", "--lang", "klingon"], "--lang klingon", "not-a-choice"),
        (["version", "--lang"], "--lang", "not-a-choice"),
    ],
)
def test_wrong_arguments(run: Run, words: list[str], argument: str, detail: str) -> None:
    """Each mistake in the arguments is named; with --json too."""
    ran = run(*words[:1], "--json", *words[1:])
    assert ran.status == 64
    assert ran.json["error"]["code"] == "argument-invalid"
    assert ran.json["error"]["params"] == {"argument": argument, "detail": detail}
    for language in ("zh", "en"):
        told = run(*words, "--lang", language) if "--lang" not in words else run(*words)
        assert detail not in told.err


def test_options_everywhere_end_at_the_double_dash(run: Run) -> None:
    """After `--` nothing is an option of ours."""
    assert run("version", "--", "--json").status == 64


def test_no_command_shows_help(run: Run) -> None:
    """Without a command the page is shown, and the status says that nothing was done."""
    ran = run()
    assert ran.status == 64
    assert "conformance" in ran.out


def test_as_a_process() -> None:
    """The module runs as a program and passes the status on."""
    done = subprocess.run(
        [sys.executable, "-m", "modelota.cli.main", "version", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0
    assert '"modelota"' in done.stdout
