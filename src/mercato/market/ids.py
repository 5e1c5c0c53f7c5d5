"""One type per kind of id, so that none can stand where another is meant."""

from typing import NewType

AccountId = NewType("AccountId", int)
"""A person or a team: who may rent, host, own keys and money."""

MachineId = NewType("MachineId", int)
ListingId = NewType("ListingId", int)
OfferId = NewType("OfferId", int)
ContractId = NewType("ContractId", int)
"""A rental or a volume: one number space. An instance has the id of its contract."""

TemplateId = NewType("TemplateId", int)
SshKeyId = NewType("SshKeyId", int)
ApiKeyId = NewType("ApiKeyId", int)
SegmentId = NewType("SegmentId", int)
Cause = NewType("Cause", str)
"""Names what made a transfer; the same cause never moves money twice."""
