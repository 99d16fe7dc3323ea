"""pynetdicom as the sender: one association, many, ones that end badly.

And the demo's whole story.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pynetdicom import AE, evt
from pynetdicom.pdu import A_ASSOCIATE_AC

from swallowtail.dicom.uids import IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from swallowtail.sim.dicom_files import ultrasound_study
from swallowtail.sim.installation import Installation
from swallowtail.sim.modality import Modality
from swallowtail.sim.progress import Lines
from swallowtail.sim.story import Story
from tests.interop.conftest import PRIVATE_SYNTAX

US = "1.2.840.10008.5.1.4.1.1.6.1"
CINE_SYNTAX = "1.2.840.10008.1.2.4.50"


def modality(site: Installation, listener: str = "imaging", **more: object) -> Modality:
    return Modality(site.port(listener), site.called_ae(listener), **more)  # type: ignore[arg-type]


def test_echo_and_store_on_every_listener(site: Installation, tmp_path: Path) -> None:
    for listener in ("imaging", "narrow", "known"):
        study = ultrasound_study(tmp_path / listener)
        assert modality(site, listener).echo().outcome == "0000"
        responses = modality(site, listener).send([sample.path for sample in study])
        assert [one.outcome for one in responses] == ["0000"] * len(study)
        site.wait_for_instances(len(study), study[0].study)


def test_unknown_and_wrongly_called(site: Installation) -> None:
    assert modality(site, "known", calling_ae="STRANGER").echo().outcome == "rejected (1,1,3)"
    assert Modality(site.port("known"), "SOMEBODY").echo().outcome == "rejected (1,1,7)"


def test_syntax_that_the_listener_does_not_allow(site: Installation, tmp_path: Path) -> None:
    study = ultrasound_study(tmp_path)
    outcomes = [
        one.outcome for one in modality(site, "picky").send([sample.path for sample in study])
    ]
    assert outcomes == ["context refused (4)", "0000", "0000", "context refused (4)"]


def test_a_private_syntax_is_passed_over_for_a_known_one(site: Installation) -> None:
    entity = AE("ULTRASOUND1")
    for sop_class in (VERIFICATION, US):
        entity.add_requested_context(sop_class, [PRIVATE_SYNTAX, IMPLICIT_VR_LITTLE_ENDIAN])
    association = entity.associate("127.0.0.1", site.port("imaging"), ae_title="SWALLOWTAIL")
    try:
        accepted = [context.transfer_syntax for context in association.accepted_contexts]
        assert accepted == [[IMPLICIT_VR_LITTLE_ENDIAN]] * 2
        assert association.send_c_echo().Status == 0
    finally:
        association.release()


def test_unknown_syntaxes_alone_are_refused_with_result_4(site: Installation) -> None:
    results: list[int | None] = []

    def answered(event: evt.Event) -> None:
        if isinstance(event.pdu, A_ASSOCIATE_AC):
            results.extend(item.result for item in event.pdu.presentation_context)

    entity = AE("ULTRASOUND1")
    for sop_class in (VERIFICATION, US):
        entity.add_requested_context(sop_class, [PRIVATE_SYNTAX, "1.2.840.10008.1.2.6.2"])
    handlers = [(evt.EVT_PDU_RECV, answered)]
    port = site.port("imaging")
    entity.associate("127.0.0.1", port, ae_title="SWALLOWTAIL", evt_handlers=handlers)
    assert results == [4, 4]


def test_a_configured_private_syntax_is_accepted(site: Installation) -> None:
    entity = AE("ULTRASOUND1")
    entity.add_requested_context(US, [PRIVATE_SYNTAX, IMPLICIT_VR_LITTLE_ENDIAN])
    association = entity.associate("127.0.0.1", site.port("private"), ae_title="SWALLOWTAIL")
    try:
        (context,) = association.accepted_contexts
        assert context.transfer_syntax == [PRIVATE_SYNTAX]
    finally:
        association.release()


def test_class_that_is_no_storage_class(site: Installation) -> None:
    entity = AE("ULTRASOUND1")
    entity.add_requested_context("1.2.840.10008.5.1.4.31")  # modality worklist
    entity.add_requested_context("1.2.840.10008.1.1")
    association = entity.associate(
        "127.0.0.1", site.port("imaging"), ae_title=site.called_ae("imaging")
    )
    try:
        assert [context.result for context in association.rejected_contexts] == [3]
        assert association.send_c_echo().Status == 0
    finally:
        association.release()


def test_twelve_modalities_at_once(site: Installation, tmp_path: Path) -> None:
    studies = [ultrasound_study(tmp_path / str(number)) for number in range(12)]

    def send(number: int) -> list[str]:
        return [
            one.outcome for one in modality(site).send([sample.path for sample in studies[number]])
        ]

    with ThreadPoolExecutor(len(studies)) as pool:
        assert list(pool.map(send, range(len(studies)))) == [["0000"] * 4] * len(studies)
    for study in studies:
        site.wait_for_instances(len(study), study[0].study)


def test_association_that_is_cut_in_the_middle_of_a_store_leaves_nothing(
    site: Installation, tmp_path: Path
) -> None:
    cine = ultrasound_study(tmp_path)[0]

    def cut(event: evt.Event) -> None:
        sent.append(event.pdu)
        if len(sent) == 12:
            event.assoc.dul.socket.close()

    sent: list[object] = []
    responses = modality(site, "narrow", handlers=[(evt.EVT_PDU_SENT, cut)]).send([cine.path])
    assert responses[0].status is None
    assert (
        list(site.rest.items(f"/api/v1/instances?sop_instance={cine.sop_instance}&hidden=true"))
        == []
    )
    assert modality(site, "narrow").send([cine.path])[0].outcome == "0000"


def test_repeat_shows_once_and_a_conflict_keeps_the_first(
    site: Installation, tmp_path: Path
) -> None:
    cine = ultrasound_study(tmp_path)[0]
    assert [one.outcome for one in modality(site).send([cine.path] * 3)] == ["0000"] * 3
    (first,) = site.rest.items(f"/api/v1/instances?sop_instance={cine.sop_instance}&hidden=true")
    content = cine.path.read_bytes()
    cine.path.write_bytes(content.replace(b"Echocardiography", b"Echokardiography"))
    assert modality(site).send([cine.path])[0].outcome == "0000"
    copies = list(
        site.rest.items(f"/api/v1/instances?sop_instance={cine.sop_instance}&hidden=true")
    )
    assert [(copy["sha256"] == first["sha256"], copy["visible"]) for copy in copies] == [
        (True, True),
        (False, False),
    ]


def test_the_story(tmp_path: Path) -> None:
    story = Story(tmp_path)
    try:
        assert story.run(Lines([title for title, _ in story.steps]))
    finally:
        story.close()
