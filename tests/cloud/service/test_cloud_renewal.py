"""Device certificates that expire, and their renewal, in the pure plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.appliance.topic import ACCEPTED, REGISTER_THING, REJECTED, certificate_renew
from harness.cloud.service.core import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

DAY_S = 86_400.0


def first(core: Any, device: str) -> str:
    return str(core.plane._core.store.devices[device].certificate_id)


def test_a_certificate_is_good_until_it_expires(make_core: Callable[..., Any]) -> None:
    core = make_core(Settings(certificate_s=DAY_S))
    device = core.register()
    told = core.answer(REGISTER_THING + ACCEPTED)["deviceConfiguration"]
    assert told["CertificateExpires"] == core.now_s + DAY_S
    certificate = first(core, device)
    core.now_s += DAY_S - 1.0
    assert core.plane.refusal(device, certificate) == ""
    core.now_s += 1.0
    assert core.plane.refusal(device, certificate) == "certificate has expired"
    assert core.plane.refusal(device, None) == "certificate has expired"


def test_a_renewed_certificate_leaves_the_old_one_its_life(make_core: Callable[..., Any]) -> None:
    core = make_core(Settings(certificate_s=DAY_S))
    device = core.online()
    old = first(core, device)
    core.now_s += 0.7 * DAY_S
    core.say(device, "certificate/renew", {"certificateSigningRequest": "another"})
    answer = core.answer(certificate_renew(device) + ACCEPTED)
    assert answer["expires"] == core.now_s + DAY_S
    new = core.authority.certificate_id(answer["certificatePem"])
    assert [core.plane.refusal(device, one) for one in (old, new)] == ["", ""]
    core.start()  # as after a crash of the service
    core.now_s += 0.5 * DAY_S
    assert core.plane.refusal(device, old) == "certificate has expired"
    assert core.plane.refusal(device, new) == ""
    core.say(device, "certificate/renew", {"certificateSigningRequest": "a third"})
    assert core.plane.refusal(device, old) == "certificate is not active"  # forgotten


def test_where_certificates_do_not_expire_none_is_renewed(core: Any) -> None:
    device = core.online()
    core.say(device, "certificate/renew", {"certificateSigningRequest": "another"})
    answer = core.answer(certificate_renew(device) + REJECTED)
    assert answer["message"] == "device certificates do not expire here"
    assert core.plane.refusal(device, first(core, device)) == ""
