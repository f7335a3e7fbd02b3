"""Only what a trusted key signed is used: whoever else can write to the store cannot have a pickle opened."""

from __future__ import annotations

import base64
import pickle
import subprocess

import msgspec
import pytest

from kepler_train.contract.errors import StoreError, UntrustedModel, WrongUsage
from kepler_train.contract.models import PROVENANCE_FILE, SIGNATURE_FILE, Signature, version_key
from kepler_train.store import open_store
from kepler_train.store.objects import digest
from tests.signing_keys import SIGNING_KEY_FILE, UNSIGNED, VERIFY_KEYS_FILE, make_key
from tests.unit.store.versions import GROUP, NAME, add, serve, version

FOLDER = version_key(GROUP, NAME, "1")


def replace(store, key: str, content: bytes | None) -> None:
    """Change an object behind the store's back; None deletes it."""
    store.objects.delete(key)
    if content is not None:
        assert store.objects.put_if(key, content, None)


def refuse(address, tmp_path, fact: str) -> None:
    """Every way to read version 1 ends in an error that names its provenance, and nothing is written."""
    before = sorted(tmp_path.rglob("*"))
    for read in (
        lambda: open_store(address).fetch_version(GROUP, NAME, "1", tmp_path / "back"),
        lambda: open_store(address).provenance_of(GROUP, NAME, "1"),
    ):
        with pytest.raises(UntrustedModel, match=fact) as raised:
            read()
        assert FOLDER + PROVENANCE_FILE in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_openssl_can_check_a_signature_by_hand(tmp_path):
    private, public = make_key(tmp_path)
    store_folder = tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SIGNING_KEY_FILE, str(private))
        patch.setenv(VERIFY_KEYS_FILE, str(public))
        added = add(open_store(str(store_folder)), tmp_path)
    signature = Signature.read(store_folder / FOLDER / SIGNATURE_FILE)
    assert signature.key_id == added.signed_by
    (tmp_path / "raw.sig").write_bytes(signature.signature)
    check = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin"]
    files = ["-in", store_folder / FOLDER / PROVENANCE_FILE, "-sigfile", tmp_path / "raw.sig"]
    assert b"Successfully" in subprocess.run([*check, *files], check=True, capture_output=True).stdout


def test_what_is_not_signed_is_refused(address, tmp_path):
    store = open_store(address)
    add(store, tmp_path)
    store.objects.delete(FOLDER + SIGNATURE_FILE)
    refuse(address, tmp_path, "is not signed; find out who may write")


def test_what_was_published_without_a_key_is_refused_where_there_are_keys(address, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(SIGNING_KEY_FILE)
        patch.delenv(VERIFY_KEYS_FILE)
        patch.setenv(UNSIGNED, "true")
        added = add(open_store(address), tmp_path)
        serve(open_store(address))
        open_store(address).fetch_version(GROUP, NAME, "1", tmp_path / "trusted-by-choice")
    assert added.signed_by == ""
    refuse(address, tmp_path, "is not signed")


def test_what_another_key_signed_is_refused_until_that_key_is_trusted(address, tmp_path, monkeypatch):
    before = (tmp_path / "before.pem", tmp_path / "before.pub.pem")
    make_key(tmp_path, "before")
    make_key(tmp_path, "after")
    monkeypatch.setenv(SIGNING_KEY_FILE, str(before[0]))
    monkeypatch.setenv(VERIFY_KEYS_FILE, str(before[1]))
    signer = add(open_store(address), tmp_path).signed_by
    monkeypatch.setenv(SIGNING_KEY_FILE, str(tmp_path / "after.pem"))
    monkeypatch.setenv(VERIFY_KEYS_FILE, str(tmp_path / "after.pub.pem"))
    refuse(address, tmp_path, f"signed with the key '{signer}', not with one of .*add it to {VERIFY_KEYS_FILE}")
    both = tmp_path / "both.pem"
    both.write_bytes((tmp_path / "after.pub.pem").read_bytes() + before[1].read_bytes())
    monkeypatch.setenv(VERIFY_KEYS_FILE, str(both))
    open_store(address).fetch_version(GROUP, NAME, "1", tmp_path / "old")
    assert add(open_store(address), tmp_path, number="2").signed_by != signer
    open_store(address).fetch_version(GROUP, NAME, "2", tmp_path / "new")


@pytest.mark.parametrize(
    "forge",
    [
        lambda stored: stored.content.replace(b"better than", b"worse than"),
        lambda stored: stored.content + b"\n",
        lambda stored: msgspec.structs.replace(
            stored.provenance, files={**stored.provenance.files, "model.sav": digest(b"forged")}
        ).encode(),
        lambda stored: msgspec.structs.replace(
            stored.provenance,
            candidate=msgspec.structs.replace(stored.provenance.candidate, runtime={"sklearn": "1.0.2"}),
        ).encode(),
    ],
    ids=["a word", "white space", "a file's checksum", "its runtime"],
)
def test_whatever_was_altered_is_refused(address, tmp_path, forge):
    store = open_store(address)
    add(store, tmp_path)
    forged = forge(store.provenance_of(GROUP, NAME, "1"))
    replace(store, FOLDER + PROVENANCE_FILE, forged)
    replace(store, FOLDER + "model.sav", b"forged")
    refuse(address, tmp_path, "was altered after it was signed")


def test_an_altered_signature_is_refused(address, tmp_path):
    store = open_store(address)
    add(store, tmp_path)
    signature = Signature.decode(store.objects.get(FOLDER + SIGNATURE_FILE).content, "it")
    for altered in (signature.signature[::-1], b"", signature.signature + b"x"):
        replace(store, FOLDER + SIGNATURE_FILE, msgspec.structs.replace(signature, signature=altered).encode())
        refuse(address, tmp_path, "or its signature was")


def test_a_signed_version_cannot_be_moved_under_another_name(address, tmp_path):
    store = open_store(address)
    add(store, tmp_path)
    for file in ("metadata.json", "model.sav", "scaler.pkl", PROVENANCE_FILE, SIGNATURE_FILE):
        content = store.objects.get(FOLDER + file).content
        store.objects.put_if(version_key(GROUP, NAME, "2", file), content, None)
        store.objects.put_if(version_key(GROUP, "other", "1", file), content, None)
    for name, number in ((NAME, "2"), ("other", "1")):
        with pytest.raises(StoreError, match="is that of another model"):
            store.fetch_version(GROUP, name, number, tmp_path / "back")


def test_publishing_again_signs_what_lost_its_signature_but_nothing_else(address, tmp_path):
    store = open_store(address)
    added = add(store, tmp_path)
    store.objects.delete(FOLDER + SIGNATURE_FILE)
    assert store.add_version(tmp_path / "again", version(tmp_path / "again")) == added
    store.fetch_version(GROUP, NAME, "1", tmp_path / "back")

    forged = msgspec.structs.replace(added, parent="another").encode()
    replace(store, FOLDER + PROVENANCE_FILE, forged)
    with pytest.raises(StoreError, match="already holds another model"):
        store.add_version(tmp_path / "third", version(tmp_path / "third"))
    refuse(address, tmp_path, "was altered")


def test_what_was_cut_short_before_its_signature_is_signed_with_the_key_that_came_since(address, tmp_path, monkeypatch):
    added = add(open_store(address), tmp_path)
    private, public = make_key(tmp_path, "after")
    monkeypatch.setenv(SIGNING_KEY_FILE, str(private))
    monkeypatch.setenv(VERIFY_KEYS_FILE, str(public))
    store = open_store(address)
    store.objects.delete(FOLDER + SIGNATURE_FILE)
    assert store.add_version(tmp_path / "again", version(tmp_path / "again")) == added
    store.fetch_version(GROUP, NAME, "1", tmp_path / "back")


def test_who_has_public_keys_only_reads_and_cannot_publish(address, tmp_path, monkeypatch):
    add(open_store(address), tmp_path)
    monkeypatch.delenv(SIGNING_KEY_FILE)
    reader = open_store(address)
    reader.fetch_version(GROUP, NAME, "1", tmp_path / "back")
    with pytest.raises(WrongUsage, match=f"no key to sign with.*set {SIGNING_KEY_FILE}"):
        add(reader, tmp_path, number="2")
    assert reader.versions(GROUP, NAME) == ("1",)


def test_a_pickle_put_in_the_place_of_a_model_is_never_opened(address, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "it ran"), "w"))

    store = open_store(address)
    added = add(store, tmp_path)
    serve(store)
    bomb = pickle.dumps(Bomb())
    forged = msgspec.structs.replace(added, files={**added.files, "model.sav": digest(bomb)})
    replace(store, FOLDER + "model.sav", bomb)
    replace(store, FOLDER + PROVENANCE_FILE, forged.encode())
    serve_forged(store)
    refuse(address, tmp_path, "was altered")
    assert not (tmp_path / "it ran").exists()


def serve_forged(store) -> None:
    """Let the index, too, be what the attacker wants."""
    index = store.read_index()
    served = index.served(GROUP, NAME)
    forged = msgspec.structs.replace(
        served, provenance_sha256=digest(store.objects.get(FOLDER + PROVENANCE_FILE).content)
    )
    store.update_index(lambda index: msgspec.structs.replace(index, models={GROUP.value: {NAME: forged}}))


@pytest.fixture
def no_keys(monkeypatch):
    for name in (SIGNING_KEY_FILE, VERIFY_KEYS_FILE, UNSIGNED):
        monkeypatch.delenv(name, raising=False)


def test_without_keys_nothing_is_opened_unless_that_was_chosen(no_keys, tmp_path, monkeypatch):
    with pytest.raises(WrongUsage, match=f"no key to verify models with; set {VERIFY_KEYS_FILE}.*--unsigned"):
        open_store(str(tmp_path))
    monkeypatch.setenv(UNSIGNED, "true")
    assert not open_store(str(tmp_path)).keys.are_used


def test_keys_and_the_choice_to_do_without_exclude_each_other(no_keys, tmp_path, monkeypatch):
    monkeypatch.setenv(UNSIGNED, "1")
    monkeypatch.setenv(VERIFY_KEYS_FILE, str(make_key(tmp_path)[1]))
    with pytest.raises(WrongUsage, match="both keys and"):
        open_store(str(tmp_path))
    monkeypatch.setenv(UNSIGNED, "perhaps")
    with pytest.raises(WrongUsage, match="set it to true or false"):
        open_store(str(tmp_path))


def test_a_publisher_needs_one_file_only(no_keys, tmp_path, monkeypatch):
    monkeypatch.setenv(SIGNING_KEY_FILE, str(make_key(tmp_path)[0]))
    store = open_store(str(tmp_path / "store"))
    add(store, tmp_path)
    store.fetch_version(GROUP, NAME, "1", tmp_path / "back")


def test_a_publisher_whom_its_own_readers_would_not_trust_is_told_at_once(no_keys, tmp_path, monkeypatch):
    monkeypatch.setenv(SIGNING_KEY_FILE, str(make_key(tmp_path, "mine")[0]))
    monkeypatch.setenv(VERIFY_KEYS_FILE, str(make_key(tmp_path, "other")[1]))
    with pytest.raises(WrongUsage, match=r"lacks the key .* add its public key"):
        open_store(str(tmp_path))


def unknown_key(label: str) -> bytes:
    """A key of an algorithm that nobody knows."""
    begin = "302a300506032b6573032100" if label == "PUBLIC KEY" else "302e020100300506032b657304220420"
    content = base64.encodebytes(bytes.fromhex(begin) + bytes(32)).decode()
    return f"-----BEGIN {label}-----\n{content}-----END {label}-----\n".encode()


@pytest.mark.parametrize("content", [b"", b"not a key", b"\xff" * 100, None, "rsa", "swapped", "unknown", "both"])
@pytest.mark.parametrize("variable", [SIGNING_KEY_FILE, VERIFY_KEYS_FILE])
def test_a_file_that_holds_no_key_is_named_and_not_shown(no_keys, tmp_path, monkeypatch, variable, content):
    file = tmp_path / "key.pem"
    if content == "rsa":
        form = ["openssl", "genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:1024", "-out", tmp_path / "rsa"]
        subprocess.run(form, check=True, capture_output=True)
        public = ["openssl", "pkey", "-in", tmp_path / "rsa", "-pubout", "-out", file]
        subprocess.run(public if variable == VERIFY_KEYS_FILE else ["cp", tmp_path / "rsa", file], check=True)
    elif content == "swapped":
        file = make_key(tmp_path)[0 if variable == VERIFY_KEYS_FILE else 1]
    elif content == "unknown":
        file.write_bytes(unknown_key("PUBLIC KEY" if variable == VERIFY_KEYS_FILE else "PRIVATE KEY"))
    elif content == "both":
        private, public = (key.read_bytes() for key in make_key(tmp_path, "pair"))
        # What else is in the file of a private key is shown to nobody.
        file.write_bytes(public + private if variable == VERIFY_KEYS_FILE else public)
    elif content is not None:
        file.write_bytes(content)
    monkeypatch.setenv(variable, str(file))
    with pytest.raises(WrongUsage, match=f"{variable} names {file}, which") as raised:
        open_store(str(tmp_path))
    assert "PRIVATE KEY" not in str(raised.value)
