"""What flows are asked for, by default."""

from typing import Any

from mercato.control.store.worker_groups import StoredGroup
from mercato.market.ids import AccountId, TemplateId
from mercato.serverless.endpoint import EndpointId, GroupId
from tests.control.market import T0


def group_wish(
    account: AccountId, endpoint: EndpointId, template: TemplateId, **more: Any
) -> StoredGroup:
    """A worker group that is asked for."""
    said = {
        "template_hash": "0" * 32,
        "search_params": "",
        "launch_args": "",
        "gpu_ram_mb": None,
        "test_workers": 3,
        "version": 1,
        "created_at_ms": T0,
        "updated_at_ms": T0,
    }
    return StoredGroup(
        id=GroupId(0),
        endpoint_id=endpoint,
        account_id=account,
        template_id=template,
        **(said | more),
    )
