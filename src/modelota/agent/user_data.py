"""The user's data of one model: a sealed copy before a version changes, and the way back (requirements 6.3-c, 7.2-a).

Applications and the engine keep the owner's data in `<model>/userdata`, outside every version. Before another version
touches them they are copied, sealed and verified, to `<model>/backups`. A way back to a version with the same layout of
data (`user_data_schema`) leaves them exactly as they are, what was written meanwhile included; to a version with
another layout, the newest copy of that layout takes their place and they are kept beside. Runs in the worker.

Going back is one exchange of two directories, and the database knows before it which directory comes; whatever is
interrupted is carried to its end by the next call, and a call that was carried out already changes nothing.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from modelota.agent.journal import Journal
from modelota.agent.snapshot_table import Exchange, Holding, Snapshot
from modelota.content.digest import Digester
from modelota.content.local_seal import open_stream, seal_stream
from modelota.errors import AskPerson, ModelotaError, OurBug, RefuseContent
from modelota.spec.limits import MIB
from modelota.storage.durable import Disk, disk_errors, free_bytes
from modelota.storage.layout import ModelLayout
from modelota.storage.ledger import NoLedger
from modelota.storage.pieces import reader
from modelota.storage.sequential import SequentialFile
from modelota.storage.tree_stream import BLOCK_BYTES, EMPTY, TreePacker, TreeUnpacker

SNAPSHOTS_KEPT: Final = 3
READINGS_MAX: Final = 3  # of data that change while they are read; then the copy is taken as it is, and says so
_ENTRY_BYTES: Final = 4 * BLOCK_BYTES  # what an entry takes in an archive besides its data, at most as a rule
_NOTED_MAX: Final = 20
_INCOMING: Final = "userdata-incoming"
_SUFFIX: Final = ".sealed"

Facts = dict[str, Any]


class UserData:
    """The user's data of one model.

    Args:
        model: its name.
        layout: its paths.
        journal: of the root.
        disk: the writer.
        secret: gives the secret that local objects are sealed under.
    """

    def __init__(
        self, model: str, layout: ModelLayout, journal: Journal, disk: Disk, secret: Callable[[], bytes]
    ) -> None:
        self._model = model
        self._layout = layout
        self._journal = journal
        self._table = journal.snapshots
        self._disk = disk
        self._secret = secret

    def place(self) -> Path:
        """The directory that the data lie in, made when it is missing."""
        return self._disk.make_directory(self._layout.user_data)

    # -- copies -------------------------------------------------------------------------------------------------------

    def snapshot(self, version: str, schema: int, *, to_schema: int | None = None) -> Facts:
        """Copy the data, sealed and verified, before another version than `version` touches them.

        Asked again while the same decision is carried out, the copy of the first time stays, unless both versions have
        the same layout: the other version may have begun to write in its own.

        Args:
            version: in use.
            schema: its layout of data.
            to_schema: the layout of the version that comes; None when it is not known.

        Returns:
            `snapshot` (its number), `path`, `entries`, `size_bytes` (plain), `sealed_bytes`, `reused`; `skipped` and
            `unsettled` as far as there are any.

        Raises:
            AskPerson: `user-data-too-large`, `no-space`, `permission-denied`.
            TryLater: `disk-error`.
            RefuseContent: `object-damaged`: what was written does not read back as it was; it is removed.
        """
        self.finish_exchange()
        known = self._standing_copy(schema, to_schema)
        if known is not None:
            return {
                "snapshot": known.seq,
                "path": str(self._file(known)),
                "size_bytes": known.size_bytes,
                "reused": True,
            }
        self._disk.make_directory(self._layout.backups)
        self._remove_strays()
        packer = TreePacker(self.place())
        size = packer.measure()
        need_bytes, free = size.size_bytes + size.entries * _ENTRY_BYTES, free_bytes(self._layout.backups)
        if free is not None and need_bytes > free:
            raise AskPerson("no-space", path=str(self._layout.backups), need_bytes=need_bytes, free_bytes=free)
        seq = self._table.next_seq()
        name = f"{seq}-{version}{_SUFFIX}"
        digest, size_bytes, sealed_bytes = self._seal(packer, self._layout.backups / name)
        self._verify(name, digest, size_bytes)
        made = Snapshot(
            seq=seq,
            version=version,
            user_data_schema=schema,
            path=name,
            size_bytes=size_bytes,
            digest=digest,
            made_at="",
        )
        holding = Holding(schema=schema, handed_over=schema != to_schema, decision=self._decision())
        self._table.taken(self._model, made, holding)
        self._prune()
        facts: Facts = {
            "snapshot": seq,
            "path": str(self._layout.backups / name),
            "entries": size.entries,
            "size_bytes": size_bytes,
            "sealed_bytes": sealed_bytes,
            "reused": False,
        }
        if packer.skipped:
            facts["skipped"] = dict(list(packer.skipped.items())[:_NOTED_MAX])
        if packer.changed:
            facts["unsettled"] = packer.changed[:_NOTED_MAX]
        self._journal.note(self._model, "user-data-saved", {"version": version, **facts})
        return facts

    def _standing_copy(self, schema: int, to_schema: int | None) -> Snapshot | None:
        """The copy that stands for data which may not be of `schema` any more."""
        holding = self._table.holding(self._model)
        if holding is None or schema == to_schema:
            return None
        again = holding.handed_over and holding.schema == schema and holding.decision == self._decision()
        gone_back_already = not holding.handed_over and holding.schema != schema
        return self._newest(schema) if again or gone_back_already else None

    def _decision(self) -> str:
        """What the change of version under way was decided by."""
        times = (self._journal.last_time(self._model, event) for event in ("decided", "rollback-asked"))
        return max((time for time in times if time is not None), default="")

    def _seal(self, packer: TreePacker, path: Path) -> tuple[str, int, int]:
        """Write the sealed copy; again, as long as something changed while it was read, a few times."""
        temporary = path.with_name(f".{path.name}.tmp")
        for reading in range(1, READINGS_MAX + 1):
            self._disk.remove(temporary)
            digester = Digester()
            try:
                with SequentialFile(temporary, self._disk, kind="temporary") as file:
                    out = file.buffered()
                    seal_stream(reader(packer.chunks(), digester.update), out, self._secret(), self._object(path.name))
                    out.flush()
                    out.detach()
                    sealed_bytes = file.settle()
            except ModelotaError:
                self._disk.remove(temporary)
                raise
            if not packer.changed or reading == READINGS_MAX:
                self._disk.rename(temporary, path, kind="backup")
                return digester.hexdigest(), digester.size_bytes, sealed_bytes
        raise OurBug("invariant-broken", detail="no reading was the last")

    def _verify(self, name: str, digest: str, size_bytes: int) -> None:
        """Open what was written, as a whole, and compare (requirement 7.2-a)."""
        found = Digester()
        try:
            self._open(name, io.BufferedWriter(_Sink(found)))
            _require_equal((found.hexdigest(), found.size_bytes), (digest, size_bytes), self._object(name))
        except RefuseContent:
            self._disk.remove(self._layout.backups / name)
            raise

    def _open(self, name: str, into: BinaryIO) -> None:
        path = self._layout.backups / name
        with disk_errors(path):
            source = path.open("rb")
        with source:
            open_stream(source, into, self._secret(), self._object(name))
        into.flush()

    def _object(self, name: str) -> str:
        return f"{self._model}/backups/{name}"

    def _file(self, snapshot: Snapshot) -> Path:
        return self._layout.backups / snapshot.path

    def _newest(self, schema: int) -> Snapshot | None:
        return next((copy for copy in self._table.snapshots(self._model) if copy.user_data_schema == schema), None)

    def _prune(self) -> None:
        """Keep the newest few copies, and the newest one of every layout that a version on this device has."""
        copies = self._table.snapshots(self._model)
        schemas = {slot.user_data_schema for slot in self._journal.slots(self._model)}
        newest = {copy.user_data_schema: copy.seq for copy in reversed(copies)}
        keep = {copy.seq for copy in copies[:SNAPSHOTS_KEPT]} | {newest[one] for one in schemas & newest.keys()}
        gone = [copy for copy in copies if copy.seq not in keep]
        self._table.forget([copy.seq for copy in gone])
        for copy in gone:
            self._disk.remove(self._file(copy))

    def _remove_strays(self) -> None:
        """Remove copies that nothing was noted about: the power failed in between."""
        known = {copy.path for copy in self._table.snapshots(self._model)}
        with disk_errors(self._layout.backups):
            found = [entry for entry in self._layout.backups.iterdir() if entry.name not in known]
        for entry in found:
            if entry.name.removesuffix(".tmp").endswith(_SUFFIX):
                self._disk.remove(entry)

    # -- the way back -------------------------------------------------------------------------------------------------

    def restore_for(self, schema: int, *, left_version: str) -> Facts:
        """Have data in the layout `schema` in place, for the version that is going to be in use again.

        Args:
            schema: its layout of data.
            left_version: the version that is left; names the directory that its data are kept in.

        Returns:
            `restored` (whether anything was exchanged), `snapshot` (which copy; None: no copy of that layout, the place
            is empty), `kept_beside` (path, or None when there was nothing to keep).

        Raises:
            AskPerson: `no-space`, `permission-denied`.
            TryLater: `disk-error`.
            RefuseContent: `object-damaged`, `archive-invalid`, `unsafe-path`: the copy can't be used; nothing changed.
        """
        finished = self.finish_exchange()
        holding = self._table.holding(self._model)
        if finished is not None and holding is not None and holding.schema == schema:
            return finished
        as_wanted = holding is not None and holding.schema == schema and not holding.handed_over
        copy = self._newest(schema)
        if as_wanted or (copy is not None and self._digest() == copy.digest):
            self._table.settle(self._model, Holding(schema=schema))
            return {"restored": False, "snapshot": copy.seq if copy else None, "kept_beside": None}
        self._table.begin(
            self._model,
            Exchange(
                schema=schema,
                snapshot=copy.seq if copy is not None else None,
                inode=None,
                beside=self._free_name(left_version),
            ),
        )
        done = self.finish_exchange()
        assert done is not None
        return done

    def take_in(self, fill: Callable[[BinaryIO], int], *, left_version: str) -> Facts:
        """Put data from elsewhere (a backup) in place; what was there is kept beside.

        Args:
            fill: writes the archive of the data into the file that it is given, and says which layout they have.
            left_version: as in `restore_for`.

        Returns:
            as `restore_for`. Raises as that, and what `fill` raises; then nothing changed.
        """
        self.finish_exchange()
        inode, schema = self._receive(fill)
        beside = self._free_name(left_version)
        self._table.begin(self._model, Exchange(schema=schema, snapshot=None, inode=inode, beside=beside))
        done = self.finish_exchange()
        assert done is not None
        return done

    def finish_exchange(self) -> Facts | None:
        """Carry an exchange that was begun to its end; what it did, or None without one. Errors as `restore_for`'s."""
        exchange = self._table.exchange(self._model)
        if exchange is None:
            return None
        place = self.place()
        if exchange.inode is None or _inode(place) != exchange.inode:
            if exchange.inode is None or _inode(self._incoming) != exchange.inode:
                exchange = self._prepare(exchange)
            self._disk.exchange(self._incoming, place, kind="user data")
        beside = self._put_beside(exchange.beside)
        self._table.settle(self._model, Holding(schema=exchange.schema))
        facts: Facts = {"restored": True, "snapshot": exchange.snapshot, "kept_beside": str(beside) if beside else None}
        self._journal.note(self._model, "user-data-restored", facts)
        return facts

    @property
    def _incoming(self) -> Path:
        return self._layout.directory / _INCOMING

    def _prepare(self, exchange: Exchange) -> Exchange:
        """Make the directory that comes, complete and durable, and note which one it is."""
        copy = self._table.snapshot(self._model, exchange.snapshot)

        def fill(out: BinaryIO) -> int:
            if copy is None:
                out.write(EMPTY)
            else:
                self._open(copy.path, out)
            return exchange.schema

        try:
            inode, _ = self._receive(fill)
        except ModelotaError:  # the data stay as they are
            self._table.settle(self._model, self._table.holding(self._model) or Holding(schema=exchange.schema))
            raise
        exchange = msgspec.structs.replace(exchange, inode=inode)
        self._table.begin(self._model, exchange)
        return exchange

    def _receive(self, fill: Callable[[BinaryIO], int]) -> tuple[int, int]:
        """Rebuild an archive in the directory that comes; its inode, and what `fill` says."""
        incoming = self._incoming
        self._disk.remove(incoming)
        self._disk.make_directory(incoming)
        try:
            # no ledger: the directory is in it, and a line for each of the owner's files would take a commit each
            unpacker = TreeUnpacker(incoming, Disk((incoming,), NoLedger()), f"user data of {self._model}")
            buffer = io.BufferedWriter(unpacker, buffer_size=MIB)
            try:
                said = fill(buffer)
                buffer.flush()
            finally:
                buffer.detach()  # closing it would write the rest of what failed
            unpacker.finish()
        except ModelotaError:
            self._disk.remove(incoming)
            raise
        inode = _inode(incoming)
        assert inode is not None
        return inode, said

    def _put_beside(self, name: str) -> Path | None:
        """Give the data that were in use their own place, if there are any; None otherwise."""
        beside = self._layout.directory / name
        with disk_errors(self._incoming):
            if not self._incoming.exists():
                return beside if beside.exists() else None
            empty = not any(self._incoming.iterdir())
        if empty:
            self._disk.remove(self._incoming)
            return None
        self._disk.rename(self._incoming, beside, kind="user data")
        return beside

    def _free_name(self, version: str) -> str:
        number = 1
        while (self._layout.directory / f"userdata-from-{version}-{number}").exists():
            number += 1
        return f"userdata-from-{version}-{number}"

    def _digest(self) -> str:
        digester = Digester()
        for piece in TreePacker(self.place()).chunks():
            digester.update(piece)
        return digester.hexdigest()


class _Sink(io.RawIOBase):
    """Feeds a digest."""

    def __init__(self, digester: Digester) -> None:
        super().__init__()
        self._digester = digester

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: object) -> int:
        """Feed the next piece."""
        view = memoryview(data)  # type: ignore[arg-type]  # the base class takes any buffer, by no type
        self._digester.update(view)
        return view.nbytes


def _require_equal(found: tuple[str, int], expected: tuple[str, int], name: str) -> None:
    if found != expected:
        raise RefuseContent("object-damaged", object=name, frame=None)


def _inode(directory: Path) -> int | None:
    """Which directory lies there; None when there is none."""
    try:
        return directory.lstat().st_ino
    except OSError:
        return None
