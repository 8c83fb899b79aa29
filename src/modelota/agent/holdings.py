"""What a device holds of its models: pinned manifests, slots, kept chunks. Runs in the worker: sealing is heavy."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property

from modelota.agent.config import Config
from modelota.agent.journal import Journal
from modelota.agent.local_secret import local_secret, slot_secret
from modelota.errors import RefuseContent
from modelota.spec.document import read
from modelota.spec.limits import MANIFEST_MAX_BYTES
from modelota.spec.manifest import AtRest, Manifest, Variant
from modelota.spec.slot import SlotDescription, SlotId
from modelota.storage.durable import Disk
from modelota.storage.kept import KeptChunks, chunk_sizes, keep_versions, kept_bytes
from modelota.storage.layout import Layout
from modelota.storage.sources import Sources


class Holdings:
    """What one device root holds.

    Args:
        layout: of the root.
        journal: of the root.
        config: the integrator's settings.
        disk: the writer.
    """

    def __init__(self, layout: Layout, journal: Journal, config: Config, disk: Disk) -> None:
        self._layout = layout
        self._journal = journal
        self._config = config
        self._disk = disk

    @cached_property
    def _secret(self) -> bytes:
        return local_secret(self._layout, self._disk)

    def manifest(self, digest: str) -> Manifest:
        """The pinned manifest.

        Raises:
            RefuseContent: `manifest-mismatch` when it is not there.
        """
        body = self._journal.manifest_body(digest)
        if body is None:
            raise RefuseContent("manifest-mismatch", model="", version="", detail=f"no manifest {digest} is pinned")
        manifest = read(body, Manifest, MANIFEST_MAX_BYTES)
        manifest.check()
        return manifest

    def at_rest(self, manifest: Manifest, variant: Variant) -> AtRest:
        """How a slot of `variant` is to lie on the disk: sealed when manifest or settings say so (7.1.2-b).

        A slot that is there stays as it is, so that its mended form fits its description at every moment.
        """
        installed = self._journal.slot(manifest.model, SlotId(manifest.version, variant.name))
        if manifest.at_rest == "sealed":
            return "sealed"
        return installed.at_rest if installed is not None else self._config.storage.at_rest

    def secret_of(self, model: str, slot: SlotId, at_rest: AtRest) -> bytes | None:
        """The secret that a slot's files are sealed with; None when they are plain."""
        return slot_secret(self._secret, model, slot) if at_rest == "sealed" else None

    def kept(self, model: str) -> KeptChunks:
        """The kept chunks of `model`."""
        return KeptChunks(self._layout.model(model).kept, self._disk, self._secret)

    def kept_if_any(self, model: str) -> KeptChunks | None:
        """The kept chunks of `model`; None when nothing was ever kept, and then no secret is made for it."""
        return self.kept(model) if self._layout.model(model).kept.is_dir() else None

    def slots(self, model: str) -> tuple[SlotDescription, ...]:
        """The slots that the state names: a registered one that it does not name is about to be removed, or gone."""
        named = set(self._journal.state(model).slots)
        return tuple(slot for slot in self._journal.slots(model) if slot.slot in named)

    def sources(self, model: str) -> Sources:
        """The chunks that slots and kept versions of `model` should hold, without those that were found damaged."""
        damaged = self._journal.damaged(model)
        return self.sources_of(model, self.slots(model), kept=self.kept_if_any(model), damaged=damaged)

    def sources_of(
        self,
        model: str,
        slots: Collection[SlotDescription],
        *,
        kept: KeptChunks | None = None,
        damaged: Collection[str] = (),
    ) -> Sources:
        """The chunks that `slots` and `kept` should hold, without `damaged`."""
        sources = Sources(damaged, kept)
        layout = self._layout.model(model)
        for slot in slots:
            if self._journal.manifest_body(slot.manifest_digest) is not None:
                secret = self.secret_of(model, slot.slot, slot.at_rest)
                place = layout.slot(slot.slot.name)
                sources.add(self.manifest(slot.manifest_digest), slot.slot.variant, place, secret=secret)
        return sources

    def kept_bytes_after(self, manifest: Manifest, variant: Variant) -> int:
        """Bytes that are written, once `variant` of `manifest` is in use, to keep the version that loses its slot."""
        state = self._journal.state(manifest.model)
        target = SlotId(manifest.version, variant.name)
        staying = {target, state.current}
        leaving = [slot for slot in self.slots(manifest.model) if slot.slot not in staying]
        if not self._config.keep.older_versions or not leaving or target in state.slots:  # mended: nothing leaves
            return 0
        stays = set(chunk_sizes(manifest, variant.name))
        for slot in self.slots(manifest.model):
            if slot.slot in staying:
                stays |= chunk_sizes(self.manifest(slot.manifest_digest), slot.slot.variant).keys()
        versions = [chunk_sizes(self.manifest(slot.manifest_digest), slot.slot.variant) for slot in leaving]
        kept = self.kept_if_any(manifest.model)
        return kept_bytes(versions, stays, kept.held if kept is not None else ())

    def keep(
        self, model: str, keep: Collection[SlotId], seal: Collection[SlotId], on_progress: Callable[[int, int], None]
    ) -> frozenset[str]:
        """Have the kept chunks be what `seal` needs beside the slots `keep`: before any other slot is removed.

        Returns:
            Digests of chunks that could not be kept; that version then takes fetching.

        Raises:
            AskPerson: `permission-denied`.
            TryLater: `disk-error`.
        """
        kept = self.kept(model)
        registered = self._journal.slots(model)
        staying = self.sources_of(model, [slot for slot in registered if slot.slot in keep])
        # in the order of `seal`, latest first: when space runs out, that one is whole
        described = {slot.slot: slot for slot in registered}
        versions = [
            chunk_sizes(self.manifest(described[slot].manifest_digest), slot.variant)
            for slot in seal
            if slot in described and self._journal.manifest_body(described[slot].manifest_digest) is not None
        ]
        return keep_versions(kept, versions, staying, self.sources_of(model, registered), on_progress)
