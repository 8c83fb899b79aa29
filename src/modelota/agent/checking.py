"""Check for an update: refresh what may be trusted, find the newest release this device can run, make the offer.

Runs in the worker. Nothing but metadata is fetched here (clause 5.1-c).
"""

from __future__ import annotations

import secrets
from functools import cached_property
from typing import Final

import msgspec

import modelota
from modelota.agent.config import Config
from modelota.agent.device_offers import DeviceOffers
from modelota.agent.enrol import Membership
from modelota.agent.journal import Journal
from modelota.agent.offers import build_offer
from modelota.agent.origins import Origin, keep_origin
from modelota.agent.preflight import storage_share_percent
from modelota.agent.standing import is_over
from modelota.agent.states import Standing, State
from modelota.agent.withdrawals import keep_withdrawals
from modelota.clock import Clock, iso
from modelota.delivery import releases
from modelota.delivery.mirrors import MirroredStore, open_mirrors
from modelota.delivery.paths import manifest_target
from modelota.delivery.stores import ObjectStore
from modelota.delivery.trust import Refreshed, TrustClient, TrustState
from modelota.errors import AskPerson, ModelotaError, RefuseContent
from modelota.spec.api import ErrorBody
from modelota.spec.offer import WITHDRAWN
from modelota.storage.durable import free_bytes
from modelota.storage.layout import Layout
from modelota.storage.space import allocated_bytes

_SEED: Final = "rollout-seed"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found for one model: the digest of an offer, or why there is none."""

    model: str
    offer_digest: str | None = None
    up_to_date: bool = False
    refused: tuple[ErrorBody, ...] = ()
    turned_down: tuple[str, ...] = ()  # newer versions that their user skipped or declined
    withdrawn: dict[str, str] = {}  # version -> reason
    stale_since: str | None = None


class JournalTrust:
    """Keeps the trust state in the agent's database (a `TrustMemory`)."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def load(self) -> TrustState | None:
        """The kept state."""
        data = self._journal.fact("trust")
        return msgspec.json.decode(data, type=TrustState) if data else None

    def save(self, state: TrustState) -> None:
        """Keep `state`, durably."""
        self._journal.set_fact("trust", msgspec.json.encode(state))


class Checker:
    """Looks at one repository for one device root.

    Args:
        layout: of the root.
        journal: of the root.
        membership: what the enrolment said.
        clock: the time.
        config: the integrator's settings; None: the defaults.
    """

    def __init__(
        self, layout: Layout, journal: Journal, membership: Membership, clock: Clock, config: Config | None = None
    ) -> None:
        self._layout = layout
        self.local = DeviceOffers(layout, journal, config)
        self._journal = journal
        self._membership = membership
        self._clock = clock
        self._network = (config or Config()).network
        place = journal.place()
        self._urls = (*((place,) if place else ()), membership.url, *self._network.mirrors)
        self._places_left = len(self._urls)

    @cached_property
    def store(self) -> ObjectStore:
        """The repository, opened when it is asked first: what the device holds needs none."""
        return open_mirrors(self._urls, proxy=self._network.proxy)

    @cached_property
    def client(self) -> TrustClient:
        """What of the repository may be trusted."""
        return TrustClient(
            self.store,
            self._layout.trust_cache,
            JournalTrust(self._journal),
            self._clock,
            anchor=self._membership.anchor,
        )

    def check(self, model: str, *, allow_stale: bool, version: str | None = None) -> Found:
        """Refresh, and make an offer for the newest release this device can run and has not turned down.

        Args:
            model: which.
            allow_stale: its owner's decision to use expired metadata.
            version: ask for this very version instead, whatever became of it on this device before.

        Raises:
            ModelotaError: whatever made the check impossible: network, metadata, documents.
        """
        refreshed = self._refresh(allow_stale=allow_stale)
        stale_since = iso(refreshed.stale_since) if refreshed.stale_since else None
        documents = releases.load_documents(self.client, model)
        self._keep_releases(model, documents)
        state = self._journal.state(model)
        refused: list[ErrorBody] = []
        turned_down: list[str] = []
        if version is not None:
            wanted = self._asked_for(documents, version, state)
            silent: tuple[Standing, ...] = ()
        else:
            silent = self._silent(state)
            wanted, refused, turned_down = self._newer(documents, state, silent)
        digest = None
        for candidate in wanted:
            try:
                digest = self._offer(documents, candidate, state, stale_since)
            except (AskPerson, RefuseContent) as error:
                refused.append(body_of(error))
                continue
            if any(given.offer_digest == digest for given in silent):
                turned_down.append(candidate)  # an older version is not what its user wants to hear of instead
                digest = None
            break
        return Found(
            model=model,
            offer_digest=digest,
            up_to_date=digest is None and all(entry.code == "release-failed-here" for entry in refused),
            refused=tuple(refused),
            turned_down=tuple(turned_down),
            withdrawn={entry.version: entry.reason for entry in documents.control.withdrawn},
            stale_since=stale_since,
        )

    def _refresh(self, *, allow_stale: bool = False) -> Refreshed:
        """Refresh the metadata; a place whose metadata is stale or wrong is left for the next one."""
        while True:
            try:
                return self.client.refresh(allow_stale=allow_stale)
            except RefuseContent as error:
                self._places_left -= 1
                if not error.code.startswith("metadata-") or self._places_left < 1 or not self.store.distrust():
                    raise

    def _silent(self, state: State) -> tuple[Standing, ...]:
        """Answers that keep offers away: not those that expired, nor any to the version that a person asked for."""
        asked = self._journal.offer(state.offer) if state.offer else None
        now = iso(self._clock.now())
        return tuple(
            given
            for given in state.silent
            if not is_over(given, now) and (asked is None or asked.offer.to_version != given.target.version)
        )

    def _newer(
        self, documents: releases.ModelDocuments, state: State, silent: tuple[Standing, ...]
    ) -> tuple[list[str], list[ErrorBody], list[str]]:
        """Versions that may be offered, newest first; why others may not; and which were skipped.

        Who skips a version waits for a newer one: what is older than that is not offered instead.
        """
        wanted: list[str] = []
        refused: list[ErrorBody] = []
        turned_down: list[str] = []
        spoken = {given.target.version for given in state.silent} - {given.target.version for given in silent}
        skipped = [version for version in state.skipped if version not in spoken]
        skips = [given.target.version for given in silent if given.answer == "skip"]
        for candidate in releases.candidates(
            documents.catalog,
            documents.control,
            installed=state.current.version if state.current else None,
            failed=(*state.failed, *skipped),
            agent_version=modelota.__version__,
            seed=self._rollout_seed(),
        ):
            withdrawn = candidate.reason is not None and candidate.reason.code == "release-withdrawn"
            if candidate.version in skips and not withdrawn:
                turned_down.append(candidate.version)
            if turned_down or candidate.version in skipped:
                continue
            if candidate.reason is None:
                wanted.append(candidate.version)
            else:
                refused.append(body_of(candidate.reason))
        return wanted, refused, turned_down

    def _rollout_seed(self) -> bytes:
        """This device's random bytes for staged rollouts, made at the first check. They never leave the device."""
        seed = self._journal.fact(_SEED)
        if seed is None:
            seed = secrets.token_bytes(16)
            self._journal.set_fact(_SEED, seed)
        return seed

    def _asked_for(self, documents: releases.ModelDocuments, version: str, state: State) -> list[str]:
        """The one version that was asked for, when it is admitted and another than the one in use.

        Raises:
            AskPerson: `version-not-kept` when the catalog does not admit it.
            RefuseContent: `release-withdrawn`.
        """
        if documents.catalog.release(version) is None:
            raise AskPerson("version-not-kept", version=version)
        withdrawal = documents.control.withdrawal(version)
        if withdrawal is not None:
            model = documents.catalog.model
            raise RefuseContent("release-withdrawn", model=model, version=version, reason=withdrawal.reason)
        return [version] if state.current is None or state.current.version != version else []

    def recheck(self, offer_digest: str) -> dict[str, object]:
        """Look once more before anything is fetched: is the release still admitted, does the device still fit?

        An accepted offer is pinned to its manifest, so a repository that can't be reached or whose metadata expired
        does not stop it (design decision 2); a withdrawal does.

        Raises:
            RefuseContent: `release-withdrawn`.
            AskPerson: `requirement-not-met`, `runtime-missing`, `no-space`.
        """
        offer_view = self._journal.offer(offer_digest)
        assert offer_view is not None
        offer = offer_view.offer
        facts: dict[str, object] = {"refreshed": True}
        try:
            self._refresh()
            documents = releases.load_documents(self.client, offer.model)
            self._keep_releases(offer.model, documents)
            withdrawal = documents.control.withdrawal(offer.to_version)
            if withdrawal is not None and offer.direction != "repair" and WITHDRAWN not in offer.consequences:
                raise RefuseContent(
                    "release-withdrawn", model=offer.model, version=offer.to_version, reason=withdrawal.reason
                )
        except ModelotaError as error:
            if error.code == "release-withdrawn":
                raise
            # pinned by its digest: what could not be learnt now changes nothing about what was accepted
            facts = {"refreshed": False, "code": error.code}
        manifest = self.local.manifest(offer.manifest_digest)
        plan = self._journal.plan(offer_digest)
        assert plan is not None
        staged_bytes = allocated_bytes(self._layout.model(offer.model).staging)
        unmet = self.local.unmet(manifest, manifest.variant(offer.to_variant), plan, credit_bytes=staged_bytes)
        if unmet:
            raise unmet[0]
        return facts

    def _offer(self, documents: releases.ModelDocuments, version: str, state: State, stale_since: str | None) -> str:
        loaded = releases.load_manifest(self.client, documents, version)
        manifest = loaded.manifest
        if manifest.device_models and self._membership.device_model not in manifest.device_models:
            found = self._membership.device_model or "unnamed"
            raise AskPerson(
                "requirement-not-met",
                requirement="device-model",
                need=", ".join(manifest.device_models[:8]),
                found=found,
            )
        variant, plan = self.local.choose(manifest, loaded.digest, state)
        current = self._journal.slot(manifest.model, state.current) if state.current else None
        share_percent = storage_share_percent(
            self._layout.model(manifest.model),
            manifest,
            variant.name,
            free_bytes(self._layout.root),
            current=current.slot.name if current else None,
            keep_bytes=self.local.holdings.kept_bytes_after(manifest, variant),
        )
        offer = build_offer(
            manifest,
            plan,
            current=current,
            kept=state.slots,
            failed_before=version in state.failed,
            storage_share_percent=share_percent,
            stale_since=stale_since,
            peak_bytes=self.local.peak_space_bytes(manifest, variant, plan),
        )
        self._journal.keep_manifest(loaded.digest, manifest.model, version, loaded.body)
        self._keep_origin(loaded.digest, manifest.model, version)
        self._journal.keep_notes(
            manifest.model, version, {str(language): text for language, text in manifest.notes.items()}
        )
        return self.local.keep(offer, plan, variant)

    def _keep_origin(self, manifest_digest: str, model: str, version: str) -> None:
        """Keep where a manifest came from and whose keys signed for it: they may be replaced later."""
        place = self.store.preferred if isinstance(self.store, MirroredStore) else self.store
        signed_by = self.client.signers(manifest_target(model, version))
        keep_origin(
            self._journal,
            manifest_digest,
            Origin(from_url=place.url, signed_by=signed_by, at=iso(self._clock.now())),
        )

    def _keep_releases(self, model: str, documents: releases.ModelDocuments) -> None:
        rows: list[tuple[str, str, str]] = []
        for release in documents.catalog.releases:
            withdrawn = documents.control.withdrawal(release.version) is not None
            rows.append((release.version, release.released_at, "withdrawn" if withdrawn else "available"))
        self._journal.keep_releases(model, rows)
        keep_withdrawals(self._journal, documents.control)
        self._journal.set_fact(f"title {model}", msgspec.json.encode(documents.catalog.title))
        self._journal.set_fact(f"end-of-service {model}", (documents.catalog.end_of_service or "").encode())


def body_of(error: ModelotaError, *, now: str = "", **now_params: object) -> ErrorBody:
    """An error as it crosses processes and is journalled; parameters become plain text or numbers."""
    params = {
        key: value if isinstance(value, (int, float, str)) or value is None else str(value)
        for key, value in error.params.items()
    }
    return ErrorBody(code=error.code, params=params, now=now, now_params=dict(now_params))
