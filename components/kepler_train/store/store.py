"""The store: versions that never change, and one small index of what is served, replaced by compare-and-swap.

It is the one door to models: whoever reads a version gets it verified, against its signature and its checksums.
"""

from __future__ import annotations

import logging
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from kepler_train.contract.errors import BrokenContract, DamagedModel, IndexConflict, NotWritable, StoreError
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import (
    INDEX_KEY,
    PROVENANCE_FILE,
    SIGNATURE_FILE,
    Index,
    Provenance,
    Signature,
    version_key,
)
from kepler_train.contract.runs import RUNS, RunRecord, run_key
from kepler_train.store.objects import LARGEST_DOCUMENT_BYTES, Objects, digest, is_plain, require_plain
from kepler_train.store.signatures import Keys

MOST_RUNS = 400
"""Records kept of runs: more than a year of nights."""
_DERIVED = "estimator/"
_INDEX_ATTEMPTS = 40
_SHOWN = 200
"""Characters of what somebody else may have written."""
_GROUPS = {group.value for group in FeatureGroup}

_log = logging.getLogger("kepler_train")


class StoredProvenance(NamedTuple):
    """A version's provenance, and the checksum of its file as it is stored."""

    provenance: Provenance
    content: bytes

    @property
    def sha256(self) -> str:
        """What the index holds of it where the version is served."""
        return digest(self.content)


class Store:
    """A store of models; see `open_store`. Whatever cannot be read or written raises StoreError."""

    def __init__(self, objects: Objects, keys: Keys) -> None:
        self.objects = objects
        self.keys = keys

    @property
    def address(self) -> str:
        """Where the store is, for messages; without secrets."""
        return self.objects.address

    def read_index(self) -> Index:
        """Read what is served: nothing, where nobody has published yet; raises StoreError where the index was lost."""
        return self._index()[0]

    def update_index(self, change: Callable[[Index], Index]) -> Index:
        """Change what is served: `change` makes the new index of the current one, again whenever another was faster.

        It must therefore be a pure function, and one that finds its work done when it sees its own result; an error it
        raises ends the update. The revision is not its to change. Returns the index as it then is; raises IndexConflict
        if it stays a race.
        """
        for attempt in range(_INDEX_ATTEMPTS):
            index, etag = self._index()
            changed = msgspec.structs.replace(change(index), revision=index.revision)
            if changed == index:
                return index
            changed = msgspec.structs.replace(changed, revision=index.revision + 1)
            if self.objects.put_if(INDEX_KEY, changed.encode(), etag):
                return changed
            time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))
        raise IndexConflict(
            f"the index of {self.address} changed {_INDEX_ATTEMPTS} times between read and write; run again"
        )

    def create_index(self, make: Callable[[], Index]) -> Index:
        """Put an index where there is none; raises StoreError where there is one, before it is made or since."""
        if self.objects.get(INDEX_KEY) is None:
            index = make()
            if self.objects.put_if(INDEX_KEY, index.encode(), None):
                return index
        raise StoreError(
            f"{self.address} has an {INDEX_KEY}, and nothing was restored; if it is damaged, delete it, then restore"
        )

    def add_version(self, folder: Path, provenance: Provenance) -> Provenance:
        """Keep a folder's files as a version that never changes; what is served stays as it is.

        Files first, then the provenance, its signature last: a version without provenance is not there yet, one without
        signature is not used. Where the same files are already there under this version, that is the version, and its
        provenance is returned: adding again does no harm.

        Raises StoreError where the version holds other files, BrokenContract where the folder does not hold what the
        provenance names, WrongUsage where there is no key to sign with.
        """
        self.keys.require_signer(self.address)
        provenance = msgspec.structs.replace(provenance, signed_by=self.keys.signer)
        group, model_name, version = provenance.group, provenance.model_name, provenance.version
        _require_plain_names(model_name, version, *provenance.files)
        stored = self._find_provenance(group, model_name, version)
        if stored is not None and stored.provenance.files != provenance.files:
            raise self._holds_other_content(group, model_name, version)
        for file, expected in provenance.files.items():
            content = _read(folder / file)
            if digest(content) != expected:
                raise BrokenContract(f"{folder / file} is not what its provenance says; was it written meanwhile?")
            self._create(version_key(group, model_name, version, file), content)
        if stored is None:
            stored = StoredProvenance(provenance, provenance.encode())
            if not self.objects.put_if(version_key(group, model_name, version, PROVENANCE_FILE), stored.content, None):
                # Another process adds the same version; the next look decides whether it is the same content.
                return self.add_version(folder, provenance)
        if self.keys.are_used:
            self._sign(stored, provenance)
        return stored.provenance

    def fetch_version(self, group: FeatureGroup, model_name: str, version: str, into: Path) -> Provenance:
        """Copy a version into the folder `into`, which must be empty or not there, once every checksum is right.

        Raises DamagedModel, naming the file, where one is missing, altered or was never published, UntrustedModel where
        no trusted key vouches for it; StoreError where there is no such version, NotWritable where there is no room.
        Then nothing has been written.
        """
        provenance, content = self.provenance_of(group, model_name, version)
        folder = version_key(group, model_name, version)
        present = {key.removeprefix(folder) for key in self.objects.list(folder)} - {SIGNATURE_FILE}
        expected = {*provenance.files, PROVENANCE_FILE}
        for names, fact in ((expected - present, "is missing"), (present - expected, "was never published")):
            if names:
                raise self._damaged(folder + min(names), fact)
        with _filled_at_once(into) as scratch:
            (scratch / PROVENANCE_FILE).write_bytes(content)
            for name, checksum in provenance.files.items():
                (scratch / name).write_bytes(self._read_file(folder + name, checksum))
        return provenance

    def provenance_of(self, group: FeatureGroup, model_name: str, version: str) -> StoredProvenance:
        """Read a version's provenance, its signature verified, checked against the index where the version is served.

        Raises DamagedModel where it is missing, altered or names files outside its folder, UntrustedModel where no
        trusted key signed it; StoreError where there is no such version.
        """
        _require_plain_names(model_name, version)
        stored = self._find_provenance(group, model_name, version)
        served = self._stored_index()[0].served(group, model_name)
        is_served = served is not None and served.version == version
        key = version_key(group, model_name, version, PROVENANCE_FILE)
        if stored is None:
            if is_served or self.objects.list(version_key(group, model_name, version)):
                raise self._damaged(key, "is missing")
            known = ", ".join(self.versions(group, model_name)) or "none"
            raise StoreError(f"{self.address} has no version {version} of {group.value}/{model_name}; it has {known}")
        if is_served and served is not None and stored.sha256 != served.provenance_sha256:
            raise self._damaged(key, "is not the one that the index names")
        if self.keys.are_used:
            self._require_signature(stored)
        return stored

    def versions(self, group: FeatureGroup, model_name: str) -> tuple[str, ...]:
        """List the versions kept of a model, sorted by name; those whose publishing was cut short are left out."""
        require_plain("model name", model_name)
        folder = f"models/{group.value}/{model_name}/"
        found = (key.removeprefix(folder).split("/") for key in self.objects.list(folder))
        return tuple(sorted(parts[0] for parts in found if parts[1:] == [PROVENANCE_FILE]))

    def add_run(self, record: RunRecord) -> None:
        """Keep a run's record, once, and let go of the oldest where there are many."""
        require_plain("run id", record.run_id)
        self.objects.put_if(run_key(record.run_id), record.encode(), None)
        for key in self.objects.list(RUNS)[:-MOST_RUNS]:
            self.objects.delete(key)

    def runs(self, most: int) -> Iterator[RunRecord]:
        """Read the records of so many runs, newest first; what is no record, or gone meanwhile, is left out."""
        for key in reversed(self.objects.list(RUNS)[-most:]):
            stored = self.objects.get(key, LARGEST_DOCUMENT_BYTES)
            if stored is None:
                continue
            try:
                yield RunRecord.decode(stored.content, origin=key)
            except BrokenContract as cause:
                _log.warning("%s in %s is passed over: %s", key, self.address, cause)

    def _index(self) -> tuple[Index, str | None]:
        """Read the index and its etag, where it was not lost: what is derived from it is never there without it."""
        index, etag = self._stored_index()
        if etag is None and self.objects.list(_DERIVED):
            index, etag = self._stored_index()  # perhaps the first publisher of all was here between the two looks
            if etag is None:
                raise StoreError(
                    f"{self.address} has lost its {INDEX_KEY}, for it still gives models to estimators; rebuild it of "
                    "these: kepler-train models restore"
                )
        return index, etag

    def _stored_index(self) -> tuple[Index, str | None]:
        stored = self.objects.get(INDEX_KEY, LARGEST_DOCUMENT_BYTES)
        if stored is None:
            return Index(), None
        index = Index.decode(stored.content, origin=f"{INDEX_KEY} in {self.address}")
        served = {
            f"{group}/{name}/{one.version}" for group, models in index.models.items() for name, one in models.items()
        }
        for full_name in (*served, *index.retired):
            group, *names = full_name.split("/")
            if group not in _GROUPS or len(names) != 2 or not all(map(is_plain, names)):
                raise StoreError(
                    f"{INDEX_KEY} in {self.address} names {full_name[:_SHOWN]!r}, which no publisher writes; find "
                    "out who else may write there, delete the index, and rebuild it: kepler-train models restore"
                )
        return index, stored.etag

    def _find_provenance(self, group: FeatureGroup, model_name: str, version: str) -> StoredProvenance | None:
        key = version_key(group, model_name, version, PROVENANCE_FILE)
        stored = self.objects.get(key, LARGEST_DOCUMENT_BYTES)
        if stored is None:
            return None
        try:
            provenance = Provenance.decode(stored.content, origin=key)
        except BrokenContract as cause:
            raise self._damaged(key, "is not a provenance of this version of kepler-train") from cause
        if (provenance.group, provenance.model_name, provenance.version) != (group, model_name, version):
            raise self._damaged(key, "is that of another model")
        for name in provenance.files:
            if not is_plain(name) or name in {PROVENANCE_FILE, SIGNATURE_FILE}:
                raise self._damaged(key, f"names the file {name[:_SHOWN]!r}, which is no plain file name")
        return StoredProvenance(provenance, stored.content)

    def _require_signature(self, stored: StoredProvenance) -> None:
        """Raise UntrustedModel unless a trusted key signed a provenance."""
        named = stored.provenance
        key = version_key(named.group, named.model_name, named.version, SIGNATURE_FILE)
        found = self.objects.get(key, LARGEST_DOCUMENT_BYTES)
        signature = None
        if found is not None:
            try:
                signature = Signature.decode(found.content, origin=key)
            except BrokenContract as cause:
                raise self._damaged(key, "is not a signature of this version of kepler-train") from cause
        folder = version_key(named.group, named.model_name, named.version)
        self.keys.require_signature(stored.content, signature, f"{folder}{PROVENANCE_FILE} in {self.address}")

    def _sign(self, stored: StoredProvenance, own: Provenance) -> None:
        """Sign a stored provenance where no trusted key has; what somebody else may have put there is not signed.

        It may name another signer: the key that was in use when its publisher was cut short.
        """
        try:
            self._require_signature(stored)
        except DamagedModel:
            before = stored.provenance
            signer = before.signed_by or own.signed_by
            expected = msgspec.structs.replace(own, published=before.published, signed_by=signer)
            if expected.encode() != stored.content:
                raise self._holds_other_content(own.group, own.model_name, own.version) from None
        else:
            return
        key = version_key(own.group, own.model_name, own.version, SIGNATURE_FILE)
        present = self.objects.get(key)
        self.objects.put_if(key, self.keys.sign(stored.content).encode(), present.etag if present else None)
        self._require_signature(stored)

    def _read_file(self, key: str, checksum: str) -> bytes:
        stored = self.objects.get(key)
        if stored is None:
            raise self._damaged(key, "is missing")
        if digest(stored.content) != checksum:
            raise self._damaged(key, "differs from its checksum")
        return stored.content

    def _create(self, key: str, content: bytes) -> None:
        if self.objects.put_if(key, content, None):
            return
        stored = self.objects.get(key)
        if stored is None or stored.content != content:
            raise StoreError(
                f"{key} in {self.address} already holds another content, and versions never change; "
                "if that file is damaged, delete the version's folder and publish again"
            )

    def _holds_other_content(self, group: FeatureGroup, model_name: str, version: str) -> StoreError:
        folder = version_key(group, model_name, version)
        return StoreError(f"{folder} in {self.address} already holds another model; publish under another version")

    def _damaged(self, key: str, fact: str) -> DamagedModel:
        return DamagedModel(
            f"{key} in {self.address} {fact}; publish a new model of this name, "
            "or go back to a version that is whole (kepler-train models rollback)"
        )


def _require_plain_names(model_name: str, version: str, *files: str) -> None:
    require_plain("model name", model_name)
    require_plain("version", version)
    for file in files:
        require_plain("file name", file)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as cause:
        raise BrokenContract(f"cannot read {file}: {cause.strerror}; was it removed meanwhile?") from cause


@contextmanager
def _filled_at_once(folder: Path) -> Iterator[Path]:
    """Give a scratch folder that takes the place of `folder`, empty or not there, if all goes well."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            filled = Path(scratch) / "filled"
            filled.mkdir()
            yield filled
            filled.replace(folder)
    except OSError as cause:
        raise NotWritable(f"cannot write to {folder}: {cause.strerror}; is it empty, and is there room?") from cause
