"""The route table of DICOMweb (PS3.18): QIDO-RS, WADO-RS and STOW-RS."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from swallowtail.cloud.web.dicomweb import rendered, search, stow, wado
from swallowtail.cloud.web.dicomweb.accept import DICOM, JSON, MULTIPART
from swallowtail.cloud.web.dicomweb.dicom_schema import STORE_BODY, search_parameters
from swallowtail.cloud.web.dicomweb.media import PIXEL_MEDIA
from swallowtail.cloud.web.dicomweb.qido import INSTANCE_KEYS, SERIES_KEYS, STUDY_KEYS
from swallowtail.cloud.web.dicomweb.rendered import JPEG, PNG
from swallowtail.cloud.web.dicomweb.wado import MP4
from swallowtail.cloud.web.roles import PATIENT_DATA_READERS
from swallowtail.cloud.web.route import BY_FACILITY, FILTERED, Route


def _qido(path: str, endpoint: Callable[..., Any], *levels: Mapping[str, str]) -> Route:
    return Route(
        "GET",
        path,
        endpoint,
        PATIENT_DATA_READERS,
        FILTERED,
        "dicomweb",
        media=JSON,
        may_be_empty=True,
        parameters=tuple(search_parameters(*levels)),
        refuses=frozenset({406, 413}),
    )


def _wado(
    path: str,
    endpoint: Callable[..., Any],
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
        refuses=frozenset({406, 408, 413, 422}),
        ranged=ranged,
    )


def _picture(path: str, endpoint: Callable[..., Any], *more: str, ranged: bool = False) -> Route:
    return _wado(path, endpoint, JPEG, PNG, *more, ranged=ranged)


def _stow(path: str, endpoint: Callable[..., Any]) -> Route:
    return Route(
        "POST",
        path,
        endpoint,
        PATIENT_DATA_READERS,
        BY_FACILITY,
        "dicomweb",
        media=JSON,
        also=((202, "Some were not stored"), (409, "None was stored")),
        body=STORE_BODY,
        refuses=frozenset({406, 415}),
    )


ALL_KEYS: Final = (STUDY_KEYS, SERIES_KEYS, INSTANCE_KEYS)
_SERIES: Final = "/studies/{study}/series/{series}"
_INSTANCE: Final = f"{_SERIES}/instances/{{instance}}"
ROUTES: Final = (
    _qido("/series", search.search_all_series, STUDY_KEYS, SERIES_KEYS),
    _qido("/instances", search.search_all_instances, *ALL_KEYS),
    _qido("/studies/{study}/instances", search.search_study_instances, *ALL_KEYS),
    _qido("/studies", search.search_studies, STUDY_KEYS),
    _stow("/studies", stow.store_instances),
    _stow("/studies/{study}", stow.store_study_instances),
    _wado("/studies/{study}", wado.retrieve_study),
    _wado("/studies/{study}/metadata", wado.study_metadata, JSON),
    _qido("/studies/{study}/series", search.search_series, STUDY_KEYS, SERIES_KEYS),
    _wado(_SERIES, wado.retrieve_series),
    _wado(f"{_SERIES}/metadata", wado.series_metadata, JSON),
    _qido(f"{_SERIES}/instances", search.search_instances, *ALL_KEYS),
    _wado(_INSTANCE, wado.retrieve_instance, MULTIPART, DICOM, ranged=True),
    _wado(f"{_INSTANCE}/metadata", wado.instance_metadata, JSON),
    _wado(f"{_INSTANCE}/frames/{{frames}}", wado.retrieve_frames),
    _wado(
        f"{_INSTANCE}/bulkdata/{{tag}}",
        wado.retrieve_bulk_data,
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
