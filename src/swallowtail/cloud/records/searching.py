"""Searches as statements.

Attribute matching of PS3.4 C.2.2.2 on the columns that indexing has filled.
"""

from typing import Any, Final

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)

from swallowtail.cloud.model.decisions import folded, words_of
from swallowtail.cloud.model.imaging import InstanceSearch, Series, SeriesSearch, Study, StudySearch
from swallowtail.cloud.model.paging import Page, PageRequest
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import schema
from swallowtail.cloud.records.rows import Listing, paged

_ESCAPE: Final = "\\"
_study, _series, _instance = schema.study, schema.series, schema.instance
IS_UNINDEXED: Final = _instance.c.state != literal_column("'indexed'")
"""As `schema.UNINDEXED` has it: SQLite takes a partial index only for a literal."""
SERIES = Listing(
    select(_series).where(_series.c.tenant == bindparam("tenant"), _series.c.instances > 0),
    Series,
    (_series.c.study, _series.c.uid, _series.c.facility),
)


def matches(column: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
    """Match one text key (PS3.4 C.2.2.2.1, C.2.2.2.4): exact, or with `*` and `?` as wildcards.

    The empty and `*` match all.
    """
    if pattern.strip("*") == "":
        return true()
    if "*" not in pattern and "?" not in pattern:
        return column == pattern
    escaped = "".join(_ESCAPE + letter if letter in "\\%_" else letter for letter in pattern)
    return column.like(escaped.replace("*", "%").replace("?", "_"), escape=_ESCAPE)


def studies(
    connection: Connection, tenant: Tenant, search: StudySearch, page: PageRequest
) -> Page[Study]:
    """Run one page of a study search, the latest updated first."""
    return paged(connection, STUDIES.where(*_study_conditions(search)), {"tenant": tenant}, page)


def series(
    connection: Connection, tenant: Tenant, search: SeriesSearch, page: PageRequest
) -> Page[Series]:
    """Run one page of a series search, by study and UID."""
    return paged(connection, SERIES.where(*_series_conditions(search)), {"tenant": tenant}, page)


def counted(search: StudySearch | SeriesSearch | InstanceSearch, most: int) -> Select[Any]:
    """Return the statement that counts what a search finds, no further than `most`."""
    found: Select[Any]
    match search:
        case StudySearch():
            found = select(true()).where(*_OF_TENANT[_study], *_study_conditions(search))
        case SeriesSearch():
            found = select(true()).where(*_OF_TENANT[_series], *_series_conditions(search))
        case InstanceSearch():
            found = select(true()).where(*_OF_TENANT[_instance], *instance_conditions(search))
    return select(func.count()).select_from(found.limit(most).subquery())


def instance_conditions(search: InstanceSearch) -> list[ColumnElement[bool]]:
    """Return what an instance search asks of a row."""
    exact = {
        "study": search.study,
        "series": search.series,
        "sop_class": search.sop_class,
        "state": search.state,
    }
    conditions = [_instance.c[name] == value for name, value in exact.items() if value]
    if search.unindexed:
        conditions.append(IS_UNINDEXED)
    if search.number is not None:
        conditions.append(_instance.c.number == search.number)
    of_studies = search.of_studies
    if search.archives is not None:
        if search.study or search.sop_instances or search.ids is not None:
            conditions.append(_is_filed(search.archives))  # few rows: each is looked up
        else:
            of_studies = _in_archives(of_studies, search.archives)
    if of_studies is not None:
        place = tuple_(_instance.c.facility, _instance.c.study)
        conditions.append(place.in_(_places(_study, _study_conditions(of_studies))))
    if search.of_series is not None:
        place = tuple_(_instance.c.facility, _instance.c.series)
        conditions.append(place.in_(_places(_series, _series_conditions(search.of_series))))
    if search.ids is not None:
        conditions.append(_instance.c.id.in_(sorted(search.ids)))
    if search.sop_instances:
        conditions.append(_instance.c.sop_instance.in_(search.sop_instances))
    if search.received_since is not None:
        conditions.append(_instance.c.received >= search.received_since)
    if search.facilities is not None:
        conditions.append(_instance.c.facility.in_(sorted(search.facilities)))
    if not search.hidden:
        conditions.append(_instance.c.visible)
    return conditions


def study_of(row: dict[str, Any]) -> Study:
    """Make the model's study of a row."""
    return Study(
        **{name: row[name] for name in Study.__struct_fields__ if name != "modalities"},
        modalities=_modalities(row),
    )


def _modalities(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(part for part in row["modalities"].split("\\") if part)


def _series_conditions(search: SeriesSearch) -> list[ColumnElement[bool]]:
    conditions = [
        _any_matches(_series.c.modality, search.modalities),
        matches(_series.c.body_part, search.body_part),
        matches(_series.c.description_key, folded(search.description)),
        *_between(_series.c.performed_date, search.performed_from, search.performed_to),
    ]
    if search.study:
        conditions.append(_series.c.study == search.study)
    studies = search.studies
    if search.archives is not None:
        studies = _in_archives(studies, search.archives)
    if studies is not None:
        place = tuple_(_series.c.facility, _series.c.study)
        conditions.append(place.in_(_places(_study, _study_conditions(studies))))
    if search.uids:
        within = search.study or studies is not None
        uid = (
            _series.c.uid.concat("") if within else _series.c.uid
        )  # else SQLite looks for each UID in each study
        conditions.append(uid.in_(search.uids))
    if search.number is not None:
        conditions.append(_series.c.number == search.number)
    if search.facilities is not None:
        conditions.append(_series.c.facility.in_(sorted(search.facilities)))
    return conditions


def _study_conditions(search: StudySearch) -> list[ColumnElement[bool]]:
    conditions = [
        matches(_study.c.patient_id, search.patient_id),
        matches(_study.c.accession, search.accession),
        matches(_study.c.study_id, search.study_id),
        matches(_study.c.referring_physician, search.referring_physician),
        matches(_study.c.description_key, folded(search.description)),
        _name_matches(search),
        *_between(_study.c.study_date, search.date_from, search.date_to),
        *_between(_study.c.study_time, search.time_from, search.time_to),
    ]
    if search.uids:
        conditions.append(_study.c.uid.in_(search.uids))
    if search.modalities:
        of_study = and_(
            _series.c.tenant == _study.c.tenant,
            _series.c.study == _study.c.uid,
            _series.c.facility == _study.c.facility,
            _series.c.instances > 0,
        )
        conditions.append(
            exists().where(of_study, _any_matches(_series.c.modality, search.modalities))
        )
    if search.received_since is not None:
        conditions.append(_study.c.updated >= search.received_since)
    if search.facilities is not None:
        conditions.append(_study.c.facility.in_(sorted(search.facilities)))
    if search.archives is not None:
        conditions.append(_study.c.archive.in_(sorted(search.archives)))
    return conditions


def _any_matches(column: ColumnElement[str], patterns: tuple[str, ...]) -> ColumnElement[bool]:
    """Match one of several; none of them means all."""
    return or_(*(matches(column, one) for one in patterns)) if patterns else true()


def _between(column: Column[Any], first: Any, last: Any) -> list[ColumnElement[bool]]:
    return [
        *([column >= first] if first is not None else []),
        *([column <= last] if last is not None else []),
    ]


def _places(table: Table, conditions: list[ColumnElement[bool]]) -> Select[Any]:
    """Return the facility and UID of each match.

    A list that SQLite makes once, not once for each row.

    The facility belongs to it: the same UID in another facility is another study or series (ADR
    0014).
    """
    return (
        select(table.c.facility, table.c.uid).where(*_OF_TENANT[table], *conditions).correlate(None)
    )


def _in_archives(search: StudySearch | None, archives: frozenset[str]) -> StudySearch:
    """Return the search of the studies above, narrowed to archives.

    One list of studies instead of two.
    """
    above = search or StudySearch()
    both = archives if above.archives is None else above.archives & archives
    return msgspec.structs.replace(above, archives=both)


def _is_filed(archives: frozenset[str]) -> ColumnElement[bool]:
    """Return whether the study of an instance is in one of these archives."""
    same = (_study.c.uid == _instance.c.study, _study.c.facility == _instance.c.facility)
    tenant = _study.c.tenant == bindparam("tenant")
    return exists().where(tenant, *same, _study.c.archive.in_(sorted(archives)))


def _name_matches(search: StudySearch) -> ColumnElement[bool]:
    """Return whether a name matches, ignoring case and accents.

    Each component group may match alone (PS3.5 6.2.1.2 parts groups by `=`).
    """
    key = folded(search.patient_name)
    if search.fuzzy:
        return and_(
            true(), *(matches(_study.c.patient_words, f"* {word}*") for word in words_of(key))
        )
    if key.strip("*") == "":
        return true()
    whole = key.rstrip("^")
    spellings = (whole, f"{whole}=*", f"*={whole}", f"*={whole}=*")
    return or_(*(matches(_study.c.patient_key, spelling) for spelling in spellings))


_OF_TENANT: Final = {
    _study: (_study.c.tenant == bindparam("tenant"), _study.c.instances > 0),
    _series: (_series.c.tenant == bindparam("tenant"), _series.c.instances > 0),
    _instance: (_instance.c.tenant == bindparam("tenant"),),
}
STUDIES = Listing(
    select(_study).where(_study.c.tenant == bindparam("tenant"), _study.c.instances > 0),
    study_of,
    (_study.c.updated, _study.c.uid, _study.c.facility),
    descending=True,
)
