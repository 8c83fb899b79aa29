"""What a device can offer from what it holds, and what a release would take on it. Needs no repository.

Runs in the worker.
"""

from __future__ import annotations

import modelota
from modelota.agent.config import Config
from modelota.agent.holdings import Holdings
from modelota.agent.journal import Journal
from modelota.agent.offers import build_offer, estimate
from modelota.agent.preflight import profile_for
from modelota.agent.states import State
from modelota.agent.verifying import ReadingPace, verify_slots
from modelota.agent.withdrawals import withdrawal_of
from modelota.delivery import planner
from modelota.errors import AskPerson
from modelota.runtime.protocol import runtimes
from modelota.spec.api_life import SlotCheck
from modelota.spec.manifest import Manifest, Variant
from modelota.spec.offer import Offer, Plan
from modelota.spec.slot import SlotId
from modelota.storage.assembly import peak_space_bytes
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout
from modelota.storage.sources import Sources
from modelota.telemetry.profile import check_requirements


class DeviceOffers:
    """Offers and checks from what one device root holds.

    Args:
        layout: of the root.
        journal: of the root.
        config: the integrator's settings; None: the defaults.
    """

    def __init__(self, layout: Layout, journal: Journal, config: Config | None = None) -> None:
        self._layout = layout
        self._journal = journal
        self.holdings = Holdings(layout, journal, config or Config(), Disk((layout.root,), journal.ledger))

    def verify(self, model: str, pace: ReadingPace | None = None) -> tuple[SlotCheck, ...]:
        """Read every installed version; see `verify_slots`."""
        return verify_slots(self.holdings, self._journal, self.manifest, model, pace)

    def offer_repair(self, model: str, slot: SlotId) -> str:
        """Make the offer to mend an installed version; it fetches only what no slot holds whole.

        Raises:
            AskPerson: `version-not-kept`, `no-space`.
            RefuseContent: `manifest-mismatch`.
        """
        description = self._journal.slot(model, slot)
        if description is None:
            raise AskPerson("version-not-kept", version=slot.version)
        state = self._journal.state(model)
        manifest = self.manifest(description.manifest_digest)
        plan = planner.plan_repair(manifest, description.manifest_digest, slot.variant, held=self.sources(model).held)
        current = self._journal.slot(model, state.current) if state.current else None
        offer = build_offer(
            manifest,
            plan,
            current=current,
            kept=state.slots,
            failed_before=False,
            storage_share_percent=None,
            stale_since=None,
            direction="repair",
            peak_bytes=self.peak_space_bytes(manifest, manifest.variant(slot.variant), plan),
        )
        return self.keep(offer, plan, manifest.variant(slot.variant))

    def offer_kept(self, model: str, slot: SlotId) -> str:
        """Make the offer to go back to a version that is kept without a slot; needs no repository (5.2.3-b).

        Every chunk it counts on is looked at, so that an offer of 0 bytes fetches nothing; what is not whole any more
        is in the planned bytes.

        Raises:
            AskPerson: `version-not-kept`, `no-space`.
            RefuseContent: `manifest-mismatch`.
        """
        description = self._journal.slot(model, slot)
        if description is None:
            raise AskPerson("version-not-kept", version=slot.version)
        state = self._journal.state(model)
        manifest, digest = self.manifest(description.manifest_digest), description.manifest_digest
        variant = manifest.variant(slot.variant)
        sources = self.sources(model)
        held = sources.held & {manifest.chunks[index].digest for file in variant.files for index in file.chunks}
        lost = sources.damaged(held)
        bases = {(installed.version, installed.variant) for installed in state.slots}
        plan = planner.plan_cheapest(manifest, digest, slot.variant, held=sources.held - lost, bases=bases)
        offer = build_offer(
            manifest,
            plan,
            current=self._journal.slot(model, state.current) if state.current else None,
            kept=state.slots,
            failed_before=slot.version in state.failed,
            storage_share_percent=None,
            stale_since=None,
            peak_bytes=self.peak_space_bytes(manifest, variant, plan),
            withdrawn=withdrawal_of(self._journal, model, slot.version) is not None,
        )
        return self.keep(offer, plan, variant)

    def require_unsuitable(self, model: str) -> None:
        """Check that this device does not meet what the version in use requires (requirement 7.3.1).

        Raises:
            AskPerson: `no-model-installed`; `hardware-suits`: it does.
            RefuseContent: `manifest-mismatch`.
        """
        state = self._journal.state(model)
        slot = self._journal.slot(model, state.current) if state.current else None
        if slot is None:
            raise AskPerson("no-model-installed", model=model)
        requires = self.manifest(slot.manifest_digest).variant(slot.slot.variant).requires
        unmet = check_requirements(
            requires,
            profile_for(self._layout, self._journal, requires),
            agent_version=modelota.__version__,
            runtime_versions={name: runtime.version() for name, runtime in runtimes().items()},
            runtime=slot.runtime.name,
            peak_space_bytes=0,
            root=self._layout.root,
        )
        if not unmet:
            raise AskPerson("hardware-suits", model=model, version=slot.slot.version)

    def manifest(self, digest: str) -> Manifest:
        """The pinned manifest.

        Raises:
            RefuseContent: `manifest-mismatch` when it is not there.
        """
        return self.holdings.manifest(digest)

    def sources(self, model: str) -> Sources:
        """The chunks that the device should hold of `model`, without those that were found damaged."""
        return self.holdings.sources(model)

    def keep(self, offer: Offer, plan: Plan, variant: Variant) -> str:
        """Keep an offer with an estimate from this device's own rates; returns its digest."""
        estimate_s, is_guess = estimate(plan, variant, self._journal.rate)
        return self._journal.keep_offer(offer, plan, estimate_s=estimate_s, estimate_is_guess=is_guess)

    def choose(self, manifest: Manifest, digest: str, state: State) -> tuple[Variant, Plan]:
        """The first variant in the publisher's order (best first) that this device can run, and the plan for it."""
        reasons: list[AskPerson] = []
        held = self.sources(manifest.model).held
        bases = {(slot.version, slot.variant) for slot in state.slots}
        for variant in manifest.variants:
            plan = planner.plan_cheapest(manifest, digest, variant.name, held=held, bases=bases)
            unmet = self.unmet(manifest, variant, plan)
            if not unmet:
                return variant, plan
            reasons.extend(unmet)
        if len(manifest.variants) == 1:
            raise reasons[0]
        detail = "; ".join(str(reason) for reason in reasons)[:300]
        raise AskPerson("no-runnable-variant", version=manifest.version, detail=detail)

    def unmet(
        self, manifest: Manifest, variant: Variant, plan: Plan, *, credit_bytes: int = 0
    ) -> tuple[AskPerson, ...]:
        """What this device lacks for a variant; `credit_bytes` of the space it takes lie there already."""
        return check_requirements(
            variant.requires,
            profile_for(self._layout, self._journal, variant.requires),
            agent_version=modelota.__version__,
            runtime_versions={name: runtime.version() for name, runtime in runtimes().items()},
            runtime=variant.runtime.name,
            peak_space_bytes=max(0, self.peak_space_bytes(manifest, variant, plan) - credit_bytes),
            root=self._layout.root,
        )

    def peak_space_bytes(self, manifest: Manifest, variant: Variant, plan: Plan) -> int:
        """The most additional storage that carrying out `plan` takes at any moment, what is kept sealed included."""
        return peak_space_bytes(
            manifest,
            plan,
            kept_bytes=self.holdings.kept_bytes_after(manifest, variant),
            sealed=self.holdings.at_rest(manifest, variant) == "sealed",
        )
