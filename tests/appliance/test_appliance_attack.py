"""Whoever stands between the vendor and the device: every attack on updates is refused by name.

After the conformance tests of The Update Framework. Each attack is mounted on a device that trusts
an honest catalogue and runs what came from it; `docs/updates.md` has the same table in words.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from harness.appliance.catalogue import ROOT_BYTES_MAX, TIMESTAMP_BYTES_MAX
from harness.engine.repository import VALID, Repository, meta_file, signer
from harness.engine.sweep.cloud import RELEASE_KEY, manifest, payload
from harness.engine.sweep.stand import online_box, read_control
from harness.engine.sweep.truth import running_version, settings, violations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.engine.sweep.box import Box

OLD, RUNS, NEW = "6.0.8", "6.2.1", "6.3.0"
PAST = datetime(2023, 1, 1, tzinfo=UTC)
Edits = dict[str, "Callable[[Any], Any]"]


def build(
    repository: Repository,
    edits: Edits | None = None,
    keys: Mapping[str, tuple[Any, ...]] | None = None,
) -> dict[str, bytes]:
    """The metadata of a catalogue as somebody makes it who has its keys, or other `keys`."""
    edits, keys = edits or {}, keys or {}
    files: dict[str, bytes] = {}
    listed = b""
    for role in ("targets", "snapshot", "timestamp"):
        make = getattr(repository, f"{role}_role")
        made = make() if role == "targets" else make(listed)
        if role in edits:
            edits[role](made)
        listed = repository.signed(role, made, *keys.get(role, ()))
        name = "timestamp.json" if role == "timestamp" else f"{made.version}.{role}.json"
        files[name] = listed
    return files


@dataclass
class World:
    """A device, what it trusts by now, and the catalogue that offers it one image more."""

    box: Box
    trusted: dict[str, bytes] = field(init=False)
    oldest: dict[str, bytes] = field(init=False)
    honest: Repository = field(init=False)
    document: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        cloud = self.box.cloud
        document = cloud.offer(RUNS)
        self.oldest = cloud.repository.files()
        cloud.offer("6.2.2")  # so that what is trusted has something older
        self.trusted = cloud.repository.files()
        self.run(document)
        assert running_version(self.box) == RUNS
        self.document = cloud.offer(NEW)
        self.honest = cloud.repository

    def run(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Order it and wait for its end. Outcome: the job as the cloud has it."""
        job = self.box.cloud.order(document)

        def ended() -> bool:
            done = self.box.cloud.jobs[job]["status"] in ("SUCCEEDED", "FAILED")
            return done and self.box.online and self.box.idle

        assert self.box.run(ended, for_s=7200.0)
        return self.box.cloud.jobs[job]

    def serve(self, files: Mapping[str, bytes]) -> None:
        self.box.cloud.publish(files)

    def slots(self) -> dict[str, Any]:
        names = ("boot-control", "slot-a", "slot-b")
        parts = (self.box.disk[name] for name in names)
        return {part.name: (dict(part.durable), dict(part.durable_blobs)) for part in parts}


@dataclass(frozen=True)
class Attack:
    """`mount` serves what the attacker has; `reason` is what the device must answer.

    `closes`: the spare slot is closed when it shows, and with `fills` it holds other bytes then.
    `heals`: what the vendor has to publish before updates work again.
    """

    mount: Callable[[World], None]
    reason: str
    closes: bool = False
    fills: bool = False
    heals: Callable[[Repository], Repository] = lambda honest: honest


def _replace(role: str, **fields: Any) -> Callable[[World], None]:
    """The attacker holds the keys of this role (and of those that follow it) and says otherwise."""

    def mount(world: World) -> None:
        def edit(made: Any) -> None:
            for name, value in fields.items():
                setattr(made, name, value)

        world.serve(build(world.honest, {role: edit}))

    return mount


def _signed_by(role: str, *others: Any) -> Callable[[World], None]:
    return lambda world: world.serve(build(world.honest, keys={role: others}))


def _thief(role: str) -> Any:
    return signer("thief", role, 0)


def _half(role: str) -> Any:
    return signer("bench", role, 0)


def _other(role: str) -> Any:
    return signer("bench", role, 1)


_NOT_BOTH = (_thief("targets"), _half("targets"))


def _old_snapshot(world: World) -> None:
    old = world.oldest["2.snapshot.json"]

    def edit(made: Any) -> None:
        made.version, made.snapshot_meta = 99, meta_file(2, old)

    world.serve({**build(world.honest, {"timestamp": edit}), "2.snapshot.json": old})


def _old_targets(world: World) -> None:
    old = world.oldest["2.targets.json"]

    def edit(made: Any) -> None:
        made.version, made.meta = 99, {"targets.json": meta_file(2, old)}

    def newer(made: Any) -> None:
        made.version, made.snapshot_meta.version = 99, 99

    world.serve(build(world.honest, {"snapshot": edit, "timestamp": newer}))


def _mislisted(role: str, by: str, name: str) -> Callable[[World], None]:
    """The right bytes, called a version that they are not by whoever lists them."""

    def mount(world: World) -> None:
        def edit(made: Any) -> None:
            (made.snapshot_meta if by == "timestamp" else made.meta[name]).version = 99

        files = build(world.honest, {by: edit})
        world.serve({**files, f"99.{role}.json": files[f"4.{role}.json"]})

    return mount


def _under_name(name: str, other: Callable[[World], bytes]) -> Callable[[World], None]:
    return lambda world: world.serve({name: other(world)})


def _root(version: int, *signers: Any, **fields: Any) -> Callable[[World], None]:
    """Served as the root that follows the first."""

    def mount(world: World) -> None:
        made = world.honest.root_role(version)
        for name, value in fields.items():
            setattr(made, name, value)
        world.serve({"2.root.json": world.honest.signed("root", made, *signers)})

    return mount


def _root_of_new_keys_by_the_old(world: World) -> None:
    """Who holds the old keys only cannot say which the new ones are."""
    made = world.honest.rotated("root").root_role(2)
    world.serve({"2.root.json": world.honest.signed("root", made, _half("root"), _other("root"))})


def _thieves_root(world: World) -> None:
    """It names the thief's keys, and is signed by them alone."""
    stolen = Repository("thief", world.honest.issued_s)
    made = stolen.root_role(2)
    world.serve({"2.root.json": stolen.signed("root", made), **stolen.files()})


def _claims(**custom: Any) -> Callable[[World], None]:
    def mount(world: World) -> None:
        made = manifest(NEW)
        world.serve(world.honest.offering(made, made.sign(RELEASE_KEY), **custom).files())

    return mount


def _content(key: str, other: Callable[[Any], Any]) -> Callable[[World], None]:
    """The store, or the line, gives other bytes than were published."""

    def mount(world: World) -> None:
        url = world.document[key]
        world.box.cloud.content[url] = other(world.box.cloud.content[url])

    return mount


def _another_manifest(world: World) -> None:
    """Of another payload, and the targets vouch for it."""
    signed = manifest(NEW, sha256="0" * 64).sign(RELEASE_KEY)
    world.box.cloud.content[world.document["manifestUrl"]] = signed
    world.serve(world.honest.offering(manifest(NEW), signed).files())


def _stripped(world: World) -> None:
    del world.document["metadataUrl"]


def _without(name: str) -> Callable[[World], None]:
    def mount(world: World) -> None:
        del world.box.cloud.content[f"metadata/{name}"]

    return mount


def _later(world: World) -> None:
    world.box.run(for_s=VALID.total_seconds())


def _renewed(honest: Repository) -> Repository:
    return Repository(
        honest.seed, honest.issued_s + VALID.total_seconds(), honest.version + 1, honest.targets
    )


ATTACKS = {
    # --- rollback: what was trusted once is not taken back
    "replay-of-all": Attack(
        lambda world: world.serve(world.oldest),
        "timestamp metadata: version 2 is older than 3, which was trusted before",
    ),
    "rollback-of-snapshot": Attack(
        _old_snapshot, "snapshot metadata: version 2 is older than 3, which was trusted before"
    ),
    "rollback-of-targets": Attack(
        _old_targets,
        "targets metadata: version 2 is older than 3, which was trusted before",
        # The thief's versions ran ahead of the vendor's: a root with new keys takes them back.
        heals=lambda honest: honest.rotated("timestamp"),
    ),
    # --- freeze: nothing is current for ever
    "freeze": Attack(_later, "timestamp metadata: expired at 2024-11-14T22:13:20Z", heals=_renewed),
    "expired-snapshot": Attack(_replace("snapshot", expires=PAST), "snapshot metadata: expired"),
    "expired-targets": Attack(_replace("targets", expires=PAST), "targets metadata: expired"),
    "expired-root": Attack(
        _root(2, expires=PAST),
        "root metadata: expired",
        heals=lambda honest: honest.rotated("snapshot").rotated("snapshot"),
    ),
    # --- mix and match: one set, or none
    "snapshot-of-another": Attack(
        _under_name("4.snapshot.json", lambda world: world.trusted["3.snapshot.json"]),
        "they do not belong together",
    ),
    "targets-of-another": Attack(
        _under_name("4.targets.json", lambda world: world.trusted["3.targets.json"]),
        "targets metadata: ",
    ),
    "targets-of-a-twin": Attack(
        _under_name(
            "4.targets.json",
            lambda world: build(world.honest, keys={"targets": _NOT_BOTH})["4.targets.json"],
        ),
        "they do not belong together",
    ),
    "snapshot-called-newer": Attack(
        _mislisted("snapshot", "timestamp", "snapshot.json"),
        "snapshot metadata: version 4, timestamp says 99",
        heals=lambda honest: honest.rotated("timestamp"),
    ),
    "targets-called-newer": Attack(
        _mislisted("targets", "snapshot", "targets.json"),
        "targets metadata: version 4, snapshot says 99",
    ),
    "version-that-nobody-has": Attack(
        _replace("timestamp", snapshot_meta=meta_file(5, b"")), "5.snapshot.json: 404"
    ),
    # --- keys
    "timestamp-by-another-key": Attack(
        _signed_by("timestamp", _thief("timestamp")),
        "timestamp metadata: signed by 0 of the 1 keys needed",
    ),
    "timestamp-by-the-targets-key": Attack(
        _signed_by("timestamp", _half("targets")),
        "timestamp metadata: signed by 0 of the 1 keys needed",
    ),
    "snapshot-by-another-key": Attack(
        _signed_by("snapshot", _thief("snapshot")),
        "snapshot metadata: signed by 0 of the 1 keys needed",
    ),
    "targets-by-another-key": Attack(
        _signed_by("targets", _thief("targets")),
        "targets metadata: signed by 0 of the 2 keys needed",
    ),
    "targets-below-threshold": Attack(
        _signed_by("targets", _half("targets")),
        "targets metadata: signed by 1 of the 2 keys needed",
    ),
    "unsigned": Attack(
        _under_name(
            "timestamp.json",
            lambda world: json.dumps(
                {**json.loads(build(world.honest)["timestamp.json"]), "signatures": []}
            ).encode(),
        ),
        "timestamp metadata: signed by 0 of the 1 keys needed",
    ),
    # --- root: one version after the other, by the keys before
    "root-skipped": Attack(_root(3), "root metadata: version 3 does not follow 1"),
    "root-replayed": Attack(_root(1), "root metadata: version 1 does not follow 1"),
    "root-of-the-thief": Attack(
        _thieves_root, "root metadata: by the trusted root signed by 0 of the 2 keys needed"
    ),
    "root-not-by-its-own-keys": Attack(
        _root_of_new_keys_by_the_old,
        "root metadata: by its own root signed by 0 of the 2 keys needed",
    ),
    "root-below-threshold": Attack(
        _root(2, _half("root")),
        "root metadata: by the trusted root signed by 1 of the 2 keys needed",
    ),
    # --- bytes
    "root-without-end": Attack(
        _under_name("2.root.json", lambda _world: bytes(ROOT_BYTES_MAX + 1)),
        f"2.root.json: larger than {ROOT_BYTES_MAX} bytes",
    ),
    "timestamp-without-end": Attack(
        _under_name("timestamp.json", lambda _world: bytes(TIMESTAMP_BYTES_MAX + 1)),
        f"timestamp.json: larger than {TIMESTAMP_BYTES_MAX} bytes",
    ),
    "targets-without-end": Attack(
        _under_name("4.targets.json", lambda world: bytes(1 << 20)), "4.targets.json: larger than"
    ),
    "timestamp-truncated": Attack(
        _under_name("timestamp.json", lambda world: build(world.honest)["timestamp.json"][:-9]),
        "timestamp metadata: cannot be read",
    ),
    "snapshot-truncated": Attack(
        _under_name("4.snapshot.json", lambda world: build(world.honest)["4.snapshot.json"][:-9]),
        "snapshot metadata: ",
    ),
    "of-another-kind": Attack(
        _under_name("timestamp.json", lambda world: build(world.honest)["4.snapshot.json"]),
        "timestamp metadata: is snapshot metadata",
    ),
    "payload-truncated": Attack(
        _content("imageUrl", lambda _blob: payload(NEW, 1 << 20)), "1048576 bytes, not", True
    ),
    "payload-without-end": Attack(
        _content("imageUrl", lambda _blob: payload(NEW, 1 << 40)), "76 bytes, not 3145728", True
    ),
    "payload-of-another-version": Attack(
        _content("imageUrl", lambda _blob: payload(RUNS)), "image 6.3.0: hash ", True, True
    ),
    "manifest-of-another-version": Attack(
        _content("manifestUrl", lambda _signed: manifest(RUNS).sign(RELEASE_KEY)),
        "image 6.3.0: manifest: ",
    ),
    "manifest-truncated": Attack(
        _content("manifestUrl", lambda signed: signed[:-1]), "image 6.3.0: manifest: "
    ),
    "manifest-of-another-payload": Attack(
        _another_manifest, "image 6.3.0: manifest and targets speak of different payloads"
    ),
    # --- what is said of an image
    "another-version-by-the-right-name": Attack(
        _claims(version=RUNS), "images/6.3.0/payload: is image 6.2.1"
    ),
    "image-of-another-board": Attack(_claims(boards=["orin"]), "image 6.3.0 is for orin"),
    "image-below-the-fuses": Attack(_claims(fuse_level=0), "image 6.3.0 has fuse level 0"),
    "image-that-nobody-signed-for": Attack(
        lambda world: world.serve(world.trusted), "image 6.3.0 is not among the signed targets"
    ),
    "no-metadata-in-the-job": Attack(_stripped, "the job names no signed metadata"),
    "no-timestamp": Attack(_without("timestamp.json"), "timestamp.json: 404"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_by_its_name_and_leaves_the_device_as_it_was(name: str) -> None:
    attack, world = ATTACKS[name], World(online_box("door"))
    box = world.box
    kept, before = settings(box)["catalogue"], world.slots()
    fuses, restarts = box.disk.fuses, list(box.restarts)
    box.notes.clear()

    attack.mount(world)
    job = world.run(world.document)

    assert (job["status"], job["progress"]) == ("FAILED", "FAILED")
    assert attack.reason in job["reason"]
    (ended,) = box.noted("ota.ended")
    assert (ended["outcome"], ended["reason"]) == ("refused", job["reason"])
    assert (box.restarts, box.disk.fuses) == (restarts, fuses), "nothing was armed"
    changed = {name for name, part in world.slots().items() if part != before[name]}
    assert changed == {*["boot-control"] * attack.closes, *["slot-a"] * attack.fills}
    assert read_control(box.disk).choose() == "b"
    after = settings(box)["catalogue"]
    assert all(after[role] >= kept[role] for role in kept if role in after), "trust never shrinks"
    assert set(box.nodes) == {"door"}
    assert box.online


@pytest.mark.parametrize("name", ATTACKS)
def test_a_device_that_was_attacked_boots_and_takes_the_next_honest_update(name: str) -> None:
    attack, world = ATTACKS[name], World(online_box("door"))
    box, device, metadata = world.box, settings(world.box)["device"], dict(world.honest.files())
    attack.mount(world)
    world.run(world.document)
    box.cut_power()
    box.power_up()
    assert box.run(lambda: box.online and box.idle)
    assert running_version(box) == RUNS
    assert list(violations(box, device)) == []

    box.cloud.content.pop("metadata/2.root.json", None)
    box.cloud.repository = attack.heals(world.honest)
    world.serve({**metadata, **box.cloud.repository.files()})
    assert world.run(box.cloud.offer("6.4.0"))["status"] == "SUCCEEDED"
    assert running_version(box) == "6.4.0"


def test_keys_that_were_replaced_stay_so_though_the_new_root_is_hidden() -> None:
    """The device has the new root in its journal, over a power cut too."""
    world = World(online_box())
    box, stolen = world.box, world.honest
    box.cloud.repository = world.honest.rotated("timestamp")
    world.serve(box.cloud.repository.files())
    assert world.run(box.cloud.offer(NEW))["status"] == "SUCCEEDED"
    box.cut_power()
    del box.cloud.content["metadata/2.root.json"]
    for _ in range(9):
        stolen = stolen.offering(manifest("6.4.0"), b"manifest")
    world.serve(build(stolen))
    box.power_up()
    assert box.run(lambda: box.online and box.idle)
    document = {**world.document, "imageVersion": "6.4.0"}
    assert "timestamp metadata: signed by 0 of the 1 keys" in world.run(document)["reason"]
