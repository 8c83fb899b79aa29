"""One run: choose the target, measure the chosen rows, turn everything into rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from modelota.conformance.checks import CHECKS
from modelota.conformance.checks.of_device import DEVICE_CHECKS, RunningDevice
from modelota.conformance.checks.of_repository import REPOSITORY_CHECKS
from modelota.conformance.published import PublishedRepository
from modelota.conformance.requirements import REQUIREMENTS
from modelota.conformance.row import Examination, Row, Text, Unmeasurable, Unreached
from modelota.conformance.stage import Stage
from modelota.conformance.unmeasured import UNMEASURED
from modelota.errors import AskPerson
from modelota.i18n import Language

Target = TypeVar("Target")
OnRow = Callable[[str], None]

_NOT_OF_DEVICE: Final = Text(
    "运行中的设备不作改动，只能查看；此项需在一次性设备上检验",
    "a running device is only looked at; this row needs a disposable one",
)
_NOT_OF_REPOSITORY: Final = Text(
    "仅凭仓库无法测量；此项需要设备", "a repository alone does not show this; the row needs a device"
)


def run(
    *,
    language: Language = "en",
    socket: Path | None = None,
    repository: str | None = None,
    root_json: Path | None = None,
    model: Path | None = None,
    only: Sequence[str] = (),
    on_row: OnRow = lambda _: None,
) -> list[Row]:
    """Measure the chosen requirements.

    Args:
        language: of the reasons.
        socket: look at the device that answers there, and change nothing on it; else a disposable device is used.
        repository: look at the repository at this URL.
        root_json: its trusted TUF root metadata; needed with `repository`.
        model: a GGUF file or a directory with release descriptions, for the disposable device; None is the example
            family of the source tree.
        only: ids to measure; empty means all.
        on_row: told each id before it is measured.

    Returns:
        one row per requirement, in the order of the standard.

    Raises:
        AskPerson: `argument-invalid`: an unknown id, options that exclude each other, no model to check, a repository
            that cannot be read.
        TryLater: `agent-not-running`: nobody answers on `socket`.
    """
    chosen = _chosen(only)
    if sum(target is not None for target in (socket, repository, model)) > 1:
        raise AskPerson("argument-invalid", argument="--socket, --repository, --model", detail="only one of them")
    if (repository is None) != (root_json is None):
        raise AskPerson("argument-invalid", argument="--root-json", detail="goes with --repository, and it with that")
    if socket is not None:
        device = RunningDevice(socket)
        return [_row(each, DEVICE_CHECKS, device, language, on_row, _NOT_OF_DEVICE) for each in chosen]
    if repository is not None and root_json is not None:
        with PublishedRepository(repository, root_json) as published:
            return [_row(each, REPOSITORY_CHECKS, published, language, on_row, _NOT_OF_REPOSITORY) for each in chosen]
    with Stage(model) as stage:
        if any(each in CHECKS for each in chosen):
            _ = stage.family  # no model to check is an error of the call, not of the product
        return [_row(each, CHECKS, stage, language, on_row, None) for each in chosen]


def _chosen(only: Sequence[str]) -> list[str]:
    unknown = [each for each in only if each not in REQUIREMENTS]
    if unknown:
        raise AskPerson("argument-invalid", argument=f"--only {unknown[0]}"[:100], detail="not-a-choice")
    return [each for each in REQUIREMENTS if not only or each in only]


def _row(
    requirement: str,
    checks: Mapping[str, Callable[[Target], Examination]],
    target: Target,
    language: Language,
    on_row: OnRow,
    elsewhere: Text | None,
) -> Row:
    check = checks.get(requirement)
    if check is None:
        if requirement in UNMEASURED:
            return Row(id=requirement, status="not measured yet", reason=UNMEASURED[requirement].said(language))
        assert elsewhere is not None
        return Row(id=requirement, status="unmeasurable here", reason=elsewhere.said(language))
    on_row(requirement)
    try:
        return check(target).row(requirement, language)
    except Unmeasurable as error:
        return Row(id=requirement, status="unmeasurable here", reason=error.reason.said(language))
    except Unreached as error:
        reason = Text(f"未能走到可测量之处：{error}", f"the product did not get there: {error}")
        return Row(id=requirement, status="failed", reason=reason.said(language))
    except Exception as error:  # noqa: BLE001  a check that breaks proves nothing, and must not hide the other rows
        said = f"{type(error).__name__}: {error}"[:600]
        reason = Text(f"检查本身中断：{said}", f"the check itself broke: {said}")
        return Row(id=requirement, status="failed", reason=reason.said(language))
