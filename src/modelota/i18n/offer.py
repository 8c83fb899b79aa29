"""An offer as plain text: everything the user is told before anything is triggered (requirement 5.1-c)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from modelota.i18n import Language, units
from modelota.i18n.shapes import OfferLike, OfferViewLike
from modelota.i18n.texts import Texts, clean, localised, mark, pad, texts_for, width

PERMISSIONS: Final[Mapping[str, str]] = {
    "network": mark("network"),
    "microphone": mark("microphone"),
    "camera": mark("camera"),
    "location": mark("location"),
    "contacts": mark("contacts"),
    "files": mark("files"),
    "calendar": mark("calendar"),
    "notifications": mark("notifications"),
    "bluetooth": mark("Bluetooth"),
    "screen": mark("screen contents"),
    "sensors": mark("sensors"),
    "accelerator": mark("graphics or neural processor"),
}
KINDS: Final[Mapping[str, str]] = {
    "feature": mark("new features"),
    "fix": mark("corrections"),
    "security": mark("security update"),
}
MODES: Final[Mapping[str, str]] = {
    "full": mark("the full package"),
    "incremental": mark("only the parts that are new"),
    "differential": mark("only the differences"),
}
_READY: Final[Mapping[str, str]] = {
    "install": mark("{model} {version} can be installed"),
    "update": mark("{model} {version} is available"),
    "rollback": mark("{model} can go back to {version}"),
    "repair": mark("{model} {version} can be repaired"),
}


def headline(view: OfferViewLike, language: Language, *, title: str | None = None) -> str:
    """The offer on one line: what, why, how much, how long, which permissions.

    Args:
        view: the offer.
        language: of the reader.
        title: what people call the model; None for its name.
    """
    texts, offer = texts_for(language), view.offer
    parts = [title_line(view, language, title=title)]
    if offer.kind == "security":
        parts.append(texts.say(KINDS["security"]))
    notes = first_note(view, language)
    if notes:
        parts.append(notes)
    return " · ".join([*parts, *costs(view, language)])


def title_line(view: OfferViewLike, language: Language, *, title: str | None = None) -> str:
    """What is on offer: “Assistant 1.1.2 is available”."""
    offer = view.offer
    ready = _READY.get(offer.direction, _READY["update"])
    return texts_for(language).say(ready, model=title or offer.model, version=offer.to_version)


def first_note(view: OfferViewLike, language: Language) -> str:
    """The first line of what its publisher says of it, or an empty text."""
    notes = localised(view.offer.notes, language).strip()
    return clean(notes.splitlines()[0].strip().rstrip("。.")) if notes else ""


def costs(view: OfferViewLike, language: Language) -> tuple[str, str, str]:
    """What it takes, for one line: download, time, new permissions."""
    texts, offer = texts_for(language), view.offer
    return _download(offer, texts), _time(view, texts), _new_permissions(offer, texts)


def render_offer(view: OfferViewLike, language: Language, *, title: str | None = None) -> str:
    """The whole offer as a person reads it: the headline, then the details, one per line.

    Args:
        view: the offer.
        language: of the reader.
        title: what people call the model; None for its name.
    """
    rows = offer_rows(view, language)
    columns = max(width(row.label) for row in rows) + 2
    lines = [headline(view, language, title=title), ""]
    for row in rows:
        first, *more = row.text.split("\n")
        lines.append(f"  {pad(row.label, columns)}{first}".rstrip())
        lines += [f"  {' ' * columns}{line}".rstrip() for line in more]
    return "\n".join(lines)


class OfferRow(NamedTuple):
    """One matter of an offer: its key, the same in every language, what it is called, and a text of some lines."""

    key: str
    label: str
    text: str


def offer_rows(view: OfferViewLike, language: Language) -> list[OfferRow]:
    """The details of an offer, in the order of reading."""
    texts, offer = texts_for(language), view.offer
    rows = [
        OfferRow("model", texts.say("Model"), clean(offer.model)),
        OfferRow("version", texts.say("Version"), _versions(offer, texts)),
        OfferRow("kind", texts.say("Kind"), _kind(offer, texts)),
    ]
    if offer.urgency_reason:
        reason = clean(localised(offer.urgency_reason, language), lines=True)
        rows.append(OfferRow("urgency", texts.say("Why it should not wait"), reason))
    if offer.direction != "repair":
        notes = clean(localised(offer.notes, language).strip(), lines=True)
        rows.append(OfferRow("notes", texts.say("What changes"), notes or texts.say("not stated")))
    rows += [
        OfferRow("download", texts.say("Download"), _download_details(offer, texts)),
        OfferRow("space", texts.say("Space"), _space(offer, texts)),
        OfferRow("time", texts.say("Time"), _time_details(view, texts)),
        OfferRow("permissions", texts.say("Permissions"), _permissions(offer, texts)),
        OfferRow("meanwhile", texts.say("Meanwhile"), _meanwhile(offer, texts)),
        OfferRow("failure", texts.say("If it fails"), _failure(offer, texts)),
    ]
    notes_on = [*offer.consequences, *(("over-300-seconds",) if view.takes_long else ())]
    if notes_on:
        lines = "\n".join(consequence(code, language) for code in notes_on)
        rows.append(OfferRow("note", texts.say("Note"), lines))
    if offer.stale_since is not None:
        since = units.moment(offer.stale_since, language)
        stale = texts.say("This information has been out of date since {since}; newer versions may exist.", since=since)
        rows.append(OfferRow("caution", texts.say("Caution"), stale))
    return [
        *rows,
        OfferRow("covers", texts.say("You agree to"), _covers(offer, texts)),
        OfferRow("digest", texts.say("Offer number"), clean(view.digest)),
    ]


def permission_name(permission: str, language: Language) -> str:
    """Name a permission; an unknown one is given as it is."""
    return texts_for(language).say(PERMISSIONS[permission]) if permission in PERMISSIONS else clean(permission)


def _kind(offer: OfferLike, texts: Texts) -> str:
    if offer.direction == "repair":  # the same version: nothing about it changes
        return texts.say("a repair: the damaged parts are replaced")
    return texts.say(KINDS[offer.kind]) if offer.kind in KINDS else clean(offer.kind)


def _versions(offer: OfferLike, texts: Texts) -> str:
    new = texts.say("{version} (variant {variant})", version=offer.to_version, variant=offer.to_variant)
    if offer.from_version is None:
        return new
    old = texts.say("{version} (variant {variant})", version=offer.from_version, variant=offer.from_variant)
    return f"{old} → {new}"


def _download(offer: OfferLike, texts: Texts) -> str:
    if offer.planned_bytes == 0:
        return texts.say("nothing to download")
    planned = units.size(offer.planned_bytes, texts.language)
    if offer.mode == "full":
        return texts.say("{size} to download (full package)", size=planned)
    full = units.size(offer.full_bytes, texts.language)
    return texts.say("{size} to download (full package {full})", size=planned, full=full)


def _download_details(offer: OfferLike, texts: Texts) -> str:
    language = texts.language
    how = texts.say(MODES[offer.mode]) if offer.mode in MODES else clean(offer.mode)
    return texts.say(
        "{planned} ({how}), {ceiling} at most; the full package would be {full}",
        planned=units.size(offer.planned_bytes, language),
        how=how,
        ceiling=units.size(offer.ceiling_bytes, language),
        full=units.size(offer.full_bytes, language),
    )


def _space(offer: OfferLike, texts: Texts) -> str:
    sizes = {
        "peak": units.size(offer.peak_space_bytes, texts.language),
        "lasting": units.size(offer.installed_bytes, texts.language),
    }
    if offer.storage_share_percent is None:
        return texts.say("{peak} at most while updating, {lasting} afterwards", **sizes)
    return texts.say(
        "{peak} at most while updating, {lasting} afterwards; all of the model then takes at most {percent} % of the "
        "available storage",
        percent=f"{offer.storage_share_percent:g}",
        **sizes,
    )


def _time(view: OfferViewLike, texts: Texts) -> str:
    estimate = units.about(view.estimate_s, texts.language)
    if view.offer.from_version is None:
        return estimate
    return texts.say("{time}, usable meanwhile", time=estimate)


def _time_details(view: OfferViewLike, texts: Texts) -> str:
    estimate = units.about(view.estimate_s, texts.language)
    if view.estimate_s is None or not view.estimate_is_guess:
        return estimate
    return texts.say("{time} (a first guess; nothing was measured on this device yet)", time=estimate)


def _new_permissions(offer: OfferLike, texts: Texts) -> str:
    if not offer.new_permissions:
        return texts.say("no new permissions")
    names = texts.listing([permission_name(name, texts.language) for name in offer.new_permissions])
    return texts.say("new permissions: {names}", names=names)


def _permissions(offer: OfferLike, texts: Texts) -> str:
    parts = [_new_permissions(offer, texts)]
    before = [permission_name(name, texts.language) for name in offer.permissions if name not in offer.new_permissions]
    if before:
        parts.append(texts.say("as before: {names}", names=texts.listing(before)))
    return _clauses(parts, texts)


def _meanwhile(offer: OfferLike, texts: Texts) -> str:
    if offer.from_version is None:
        return texts.say("The device stays usable as it is; the model can be used once it is installed.")
    return texts.say("Version {version} stays usable; requests under way are finished.", version=offer.from_version)


def _failure(offer: OfferLike, texts: Texts) -> str:
    if offer.from_version is None:
        return texts.say("Nothing stays installed; you need do nothing.")
    return texts.say(
        "The device goes back to version {version} by itself; you need do nothing.", version=offer.from_version
    )


_CONSEQUENCES: Final[Mapping[str, str]] = {
    "engine-restarts": mark("The model restarts once; an answer under way is finished first."),
    "user-data-kept": mark("Your data is kept."),
    "older-version": mark("This is an older version than the one in use."),
    "fetched-again": mark("This version is no longer on the device and is downloaded again."),
    "failed-before": mark("This version was tried on this device before and went back."),
    "withdrawn": mark("Its publisher withdrew this version."),
    "over-300-seconds": mark("This takes longer than five minutes."),
    "storage-share": mark("Afterwards the model takes more than a tenth of the available storage."),
    "metered-network": mark("The download goes over a metered connection."),
}


def consequence(code: str, language: Language) -> str:
    """Say what follows from accepting; an unknown consequence is given as it is."""
    return texts_for(language).say(_CONSEQUENCES[code]) if code in _CONSEQUENCES else clean(code)


def _covers(offer: OfferLike, texts: Texts) -> str:
    covers, language = offer.covers, texts.language
    parts = [texts.say("fetch {size} at most", size=units.size(covers.fetch_up_to_bytes, language))]
    if covers.activate:
        parts.append(texts.say("put version {version} to use after it passes its tests", version=offer.to_version))
    if covers.return_automatically_until_watch_ends:
        parts.append(texts.say("go back by itself if it does not work well"))
    if covers.repair_up_to_bytes:
        parts.append(texts.say("fetch {size} for repairs", size=units.size(covers.repair_up_to_bytes, language)))
    if covers.keep_versions:
        parts.append(texts.say("keep {versions}", versions=texts.listing([clean(v) for v in covers.keep_versions])))
    if covers.remove_versions:
        parts.append(texts.say("remove {versions}", versions=texts.listing([clean(v) for v in covers.remove_versions])))
    if covers.remove_own_temporaries:
        parts.append(texts.say("clean up its own temporary files"))
    return "\n".join([*parts, texts.say("nothing beyond that")])


def _clauses(parts: list[str], texts: Texts) -> str:
    return ("；" if texts.language == "zh-CN" else "; ").join(parts)
