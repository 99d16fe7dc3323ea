"""The route table of DICOMweb (PS3.18): QIDO-RS, WADO-RS and STOW-RS."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from swallowtail.cloud.ingest.instance_upload import InstanceUpload
from swallowtail.cloud.query.parts import Frames
from swallowtail.cloud.query.search import Query
from swallowtail.cloud.web.dicomweb import rendered, search, stow, wado
from swallowtail.cloud.web.dicomweb.accept import DICOM, JSON, MULTIPART
from swallowtail.cloud.web.dicomweb.dicom_schema import STORE_BODY, search_parameters
from swallowtail.cloud.web.dicomweb.media import PIXEL_MEDIA
from swallowtail.cloud.web.dicomweb.qido import INSTANCE_KEYS, SERIES_KEYS, STUDY_KEYS
from swallowtail.cloud.web.dicomweb.rendered import JPEG, PNG
from swallowtail.cloud.web.dicomweb.wado import MP4
from swallowtail.cloud.web.roles import PATIENT_DATA_READERS
from swallowtail.cloud.web.route import BY_FACILITY, FILTERED, Route

_LEVELS: Final = {"studies": "study", "series": "series", "instances": "instance"}


def _qido(
    path: str,
    endpoint: Callable[..., Any],
    use_case: Callable[..., Any],
    *levels: Mapping[str, str],
) -> Route:
    return Route(
        "GET",
        path,
        endpoint,
        PATIENT_DATA_READERS,
        FILTERED,
        "dicomweb",
        media=JSON,
        may_be_empty=True,
        use_case=use_case,
        audit=f"{_LEVELS[use_case.__name__]}.search",
        parameters=tuple(search_parameters(*levels)),
        refuses=frozenset({406, 413}),
    )


def _wado(
    path: str,
    endpoint: Callable[..., Any],
    use_case: Callable[..., Any],
    media: str = MULTIPART,
    *more: str,
    ranged: bool = False,
) -> Route:
    return Route(
        "GET",
        path,
        endpoint,
        PATIENT_DATA_READERS,
        FILTERED,
        "dicomweb",
        media=media,
        or_media=more,
        use_case=use_case,
        audit="instance.metadata" if media == JSON else "instance.fetch",
        refuses=frozenset({406, 408, 413, 422}),
        ranged=ranged,
    )


def _picture(path: str, endpoint: Callable[..., Any], *more: str, ranged: bool = False) -> Route:
    return _wado(path, endpoint, Frames.locate, JPEG, PNG, *more, ranged=ranged)


def _stow(path: str, endpoint: Callable[..., Any]) -> Route:
    return Route(
        "POST",
        path,
        endpoint,
        PATIENT_DATA_READERS,
        BY_FACILITY,
        "dicomweb",
        media=JSON,
        use_case=InstanceUpload.store,
        audit="instance.new",
        also=((202, "Some were not stored"), (409, "None was stored")),
        body=STORE_BODY,
        refuses=frozenset({406, 415}),
    )


ALL_KEYS: Final = (STUDY_KEYS, SERIES_KEYS, INSTANCE_KEYS)
_SERIES: Final = "/studies/{study}/series/{series}"
_INSTANCE: Final = f"{_SERIES}/instances/{{instance}}"
ROUTES: Final = (
    _qido("/series", search.search_all_series, Query.series, STUDY_KEYS, SERIES_KEYS),
    _qido("/instances", search.search_all_instances, Query.instances, *ALL_KEYS),
    _qido("/studies/{study}/instances", search.search_study_instances, Query.instances, *ALL_KEYS),
    _qido("/studies", search.search_studies, Query.studies, STUDY_KEYS),
    _stow("/studies", stow.store_instances),
    _stow("/studies/{study}", stow.store_study_instances),
    _wado("/studies/{study}", wado.retrieve_study, Query.file),
    _wado("/studies/{study}/metadata", wado.study_metadata, Query.record_reading, JSON),
    _qido("/studies/{study}/series", search.search_series, Query.series, STUDY_KEYS, SERIES_KEYS),
    _wado(_SERIES, wado.retrieve_series, Query.file),
    _wado(f"{_SERIES}/metadata", wado.series_metadata, Query.record_reading, JSON),
    _qido(f"{_SERIES}/instances", search.search_instances, Query.instances, *ALL_KEYS),
    _wado(_INSTANCE, wado.retrieve_instance, Query.file, MULTIPART, DICOM, ranged=True),
    _wado(f"{_INSTANCE}/metadata", wado.instance_metadata, Query.record_reading, JSON),
    _wado(f"{_INSTANCE}/frames/{{frames}}", wado.retrieve_frames, Frames.locate),
    _wado(
        f"{_INSTANCE}/bulkdata/{{tag}}",
        wado.retrieve_bulk_data,
        Frames.locate,
        MULTIPART,
        *PIXEL_MEDIA,
        ranged=True,
    ),
    _picture(f"{_INSTANCE}/rendered", wado.retrieve_rendered, MP4, "video/mpeg", ranged=True),
    _picture(f"{_INSTANCE}/frames/{{frames}}/rendered", wado.retrieve_rendered_frames, MULTIPART),
    _picture("/studies/{study}/thumbnail", rendered.study_thumbnail),
    _picture(f"{_SERIES}/thumbnail", rendered.series_thumbnail),
    _picture(f"{_INSTANCE}/thumbnail", wado.instance_thumbnail),
    _picture(f"{_INSTANCE}/frames/{{frames}}/thumbnail", wado.frame_thumbnail),
)
