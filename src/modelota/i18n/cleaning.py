"""Plan and proof of a cleaning, as the owner of the device reads them (clause 7.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from modelota.i18n import Language, units
from modelota.i18n.texts import Texts, clean, mark, texts_for

SHOWN_MAX: Final = 200  # of each class; the rest is counted, and `--json` has all

_KINDS: Final[Mapping[str, str]] = {
    "whole copy": mark("copy"),
    "truncated copy": mark("incomplete copy"),
    "slice": mark("holds a part of the model"),
    "tagged file": mark("file with our tag"),
    "file": mark("file"),
    "directory": mark("directory"),
    "link": mark("link"),
    "socket": mark("socket"),
    "pipe": mark("pipe"),
}
_DOUBTS: Final[Mapping[str, str]] = {
    "slice": mark("only a part of it is the model's"),
    "end-unproven": mark("its last bytes could not be compared"),
    "hard-linked": mark("the file has another name as well"),
    "other-user": mark("it belongs to another user"),
    "other-application": mark("another application keeps it"),
    "packages-unknown": mark("a package may own it; the package database cannot be read here"),
    "changed": mark("someone changed it"),
    "newer-than-record": mark("it was changed after the agent was removed"),
    "tag-only": mark("it has our tag, but another content"),
}
_SPARED: Final[Mapping[str, str]] = {
    "package-owned": mark("a package owns it"),
    "in-use": mark("a program is using it"),
    "cannot-tell": mark("it could not be looked at"),
}
_REFUSALS: Final[Mapping[str, str]] = {
    "changed": mark("it changed after it was shown"),
    "in-use": mark("a program is using it"),
    "not-empty": mark("something else lies in it"),
    "permission-denied": mark("you may not remove it"),
    "read-only": mark("it lies on a file system that is read only"),
    "disk-error": mark("the disk reported an error"),
    "cannot-tell": mark("it could not be looked at"),
}
_LEFT_OUT: Final[Mapping[str, str]] = {
    "network": mark("it is on the network"),
    "read-only": mark("it is read only"),
    "unknown-type": mark("it is of an unknown kind"),
}


class EvidenceLike(Protocol):
    """Why something is thought to be left of a model."""

    @property
    def by(self) -> str:
        """Source of the proof."""
        ...

    @property
    def version(self) -> str:
        """Version of the file that it comes from."""
        ...

    @property
    def file(self) -> str:
        """The file that it comes from."""
        ...

    @property
    def proven_bytes(self) -> int:
        """How much of it is proven."""
        ...

    @property
    def probes(self) -> int:
        """Places looked at."""
        ...

    @property
    def matched(self) -> int:
        """Places at which the model's content lay."""
        ...


class FindingLike(Protocol):
    """Something that may be removed."""

    @property
    def id(self) -> str:
        """Names it."""
        ...

    @property
    def path(self) -> str:
        """Where."""
        ...

    @property
    def kind(self) -> str:
        """What."""
        ...

    @property
    def certainty(self) -> str:
        """How sure."""
        ...

    @property
    def size_bytes(self) -> int:
        """How much."""
        ...

    @property
    def evidence(self) -> EvidenceLike:
        """The proof."""
        ...

    @property
    def doubts(self) -> Sequence[str]:
        """What speaks against it."""
        ...


class ReasonedLike(Protocol):
    """Something that stays, and why."""

    @property
    def path(self) -> str:
        """Where."""
        ...

    @property
    def reason(self) -> str | None:
        """Why."""
        ...


def kind_name(kind: str, language: Language) -> str:
    """Name what a finding is; an unknown kind is given as it is."""
    return _named(_KINDS, kind, texts_for(language))


def evidence_sentence(finding: FindingLike, language: Language) -> str:
    """Say why a finding is thought to be a residue."""
    return _proof(finding.evidence, finding.size_bytes, texts_for(language))


def doubt_sentences(finding: FindingLike, language: Language) -> list[str]:
    """Say what speaks against a finding, one sentence each."""
    texts = texts_for(language)
    return [_named(_DOUBTS, doubt, texts) for doubt in finding.doubts]


def reason_sentence(reason: str | None, language: Language) -> str:
    """Say why something stays, was not removed or was not looked at; an unknown reason is given as it is."""
    return _named({**_LEFT_OUT, **_SPARED, **_REFUSALS}, reason or "", texts_for(language))


def _named(table: Mapping[str, str], key: str, texts: Texts) -> str:
    return texts.say(table[key]) if key in table else clean(key)


def plan_lines(
    *,
    findings: Sequence[FindingLike],
    spared: Sequence[ReasonedLike],
    not_looked_at: Sequence[ReasonedLike],
    files_seen: int,
    unreadable: int,
    digest: str,
    language: Language,
) -> list[str]:
    """The plan: what goes with its proof, what may go if it is named, what stays, what was not looked at."""
    texts = texts_for(language)
    certain = [each for each in findings if each.certainty == "certain"]
    probable = [each for each in findings if each.certainty != "certain"]
    lines = []
    if files_seen:
        lines.append(
            texts.say(
                "{files} files were looked at; {unreadable} could not be.", files=files_seen, unreadable=unreadable
            )
        )
    if not findings:
        lines.append(texts.say("Nothing is left that could be removed."))
    if certain:
        size = units.size(sum(each.size_bytes for each in certain), language)
        lines.append(
            texts.say("Certainly left behind, and to be removed ({count}, {size}):", count=len(certain), size=size)
        )
        lines += _listed((_finding_line(each, texts) for each in certain), len(certain), texts)
    if probable:
        lines.append(
            texts.say("Probably left behind; each is only removed if you name it ({count}):", count=len(probable))
        )
        lines += _listed((_finding_line(each, texts) for each in probable), len(probable), texts)
    if spared:
        lines.append(texts.say("Never touched ({count}):", count=len(spared)))
        lines += _listed((_reason_line(each, _SPARED, texts) for each in spared), len(spared), texts)
    if not_looked_at:
        lines.append(texts.say("File systems that were not looked at:"))
        lines += _listed((_reason_line(each, _LEFT_OUT, texts) for each in not_looked_at), len(not_looked_at), texts)
    return [*lines, texts.say("Digest of this plan: {digest}", digest=digest)]


def proof_lines(
    *, removed: int, gone: int, removed_bytes: int, refused: Sequence[ReasonedLike], language: Language
) -> list[str]:
    """The result: how much went, and what did not, with the reason."""
    texts = texts_for(language)
    lines = [
        texts.say(
            "Removed: {count} ({size}). Gone already: {gone}.",
            count=removed,
            size=units.size(removed_bytes, language),
            gone=gone,
        )
    ]
    if refused:
        lines.append(texts.say("Not removed ({count}):", count=len(refused)))
        lines += _listed((_reason_line(each, _REFUSALS, texts) for each in refused), len(refused), texts)
    return lines


def _listed(lines: Iterable[str], count: int, texts: Texts) -> list[str]:
    shown = [line for line, _ in zip(lines, range(SHOWN_MAX), strict=False)]
    if count > SHOWN_MAX:
        shown.append("  " + texts.say("… and {count} more; --json lists all", count=count - SHOWN_MAX))
    return shown


def _finding_line(finding: FindingLike, texts: Texts) -> str:
    kind = texts.say(_KINDS[finding.kind]) if finding.kind in _KINDS else clean(finding.kind)
    parts = [kind, units.size(finding.size_bytes, texts.language), _proof(finding.evidence, finding.size_bytes, texts)]
    parts += [texts.say(_DOUBTS[doubt]) if doubt in _DOUBTS else clean(doubt) for doubt in finding.doubts]
    return f"  {finding.id}  {clean(finding.path)}  ({texts.listing(parts)})"


def _proof(evidence: EvidenceLike, size_bytes: int, texts: Texts) -> str:
    if evidence.by == "place":
        return texts.say("in the agent's own directory")
    if evidence.by == "ledger":
        return texts.say("recorded by the agent")
    if evidence.by == "tag":
        return texts.say("tagged by the agent")
    source = {"file": evidence.file, "version": evidence.version}
    if evidence.probes:
        return texts.say(
            "at {matched} of {probes} places the content of {file} {version}",
            matched=evidence.matched,
            probes=evidence.probes,
            **source,
        )
    if evidence.proven_bytes >= size_bytes:
        return texts.say("every byte is that of {file} {version}", **source)
    proven = units.size(evidence.proven_bytes, texts.language)
    return texts.say("its first {proven} are those of {file} {version}", proven=proven, **source)


def _reason_line(item: ReasonedLike, reasons: Mapping[str, str], texts: Texts) -> str:
    reason = item.reason or ""
    return f"  {clean(item.path)}  ({texts.say(reasons[reason]) if reason in reasons else clean(reason)})"
