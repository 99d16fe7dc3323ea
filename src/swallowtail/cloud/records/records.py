"""All ports of the records over one database."""

from swallowtail.cloud.records.alarms import AlarmRecords
from swallowtail.cloud.records.archives import ArchiveRecords
from swallowtail.cloud.records.audit import AuditRecords
from swallowtail.cloud.records.configuration import ConfigurationRecords
from swallowtail.cloud.records.database import Database
from swallowtail.cloud.records.deletions import DeletionRecords
from swallowtail.cloud.records.deliveries import DeliveryRecords
from swallowtail.cloud.records.exports import AuditExportRecords
from swallowtail.cloud.records.indexing import IndexJobRecords
from swallowtail.cloud.records.instances import InstanceRecords
from swallowtail.cloud.records.inventory import InventoryRecords
from swallowtail.cloud.records.links import LinkRecords
from swallowtail.cloud.records.organisations import OrganisationRecords
from swallowtail.cloud.records.purging import UnreferencedBlobRecords
from swallowtail.cloud.records.retention import RetentionRecords
from swallowtail.cloud.records.rules import RuleRecords
from swallowtail.cloud.records.tokens import TokenRecords


class Records:
    """The ports, each under its name; whoever opened the database closes it."""

    def __init__(self, database: Database) -> None:
        self.organisations = OrganisationRecords(database)
        self.tokens = TokenRecords(database)
        self.links = LinkRecords(database)
        self.configuration = ConfigurationRecords(database)
        self.instances = InstanceRecords(database)
        self.deletions = DeletionRecords(database)
        self.archives = ArchiveRecords(database)
        self.retentions = RetentionRecords(database)
        self.unreferenced_blobs = UnreferencedBlobRecords(database)
        self.index_jobs = IndexJobRecords(database)
        self.deliveries = DeliveryRecords(database)
        self.rules = RuleRecords(database)
        self.alarms = AlarmRecords(database)
        self.audit = AuditRecords(database)
        self.audit_exports = AuditExportRecords(database)
        self.inventory = InventoryRecords(database)
