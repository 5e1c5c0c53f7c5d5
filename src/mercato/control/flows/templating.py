"""Templates: made, changed into another version, taken away.

A template's hash names its creator and its content, so that whoever was given a hash launches what
was shown. A change keeps the id and makes a new hash. A worker group keeps what was shown to it.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from mercato.control.db import Tx
from mercato.control.store import templates, worker_groups
from mercato.control.store.templates import StoredTemplate
from mercato.control.store.worker_groups import StoredGroup
from mercato.market import errors
from mercato.market.ids import AccountId, TemplateId


def hash_of(creator: AccountId, body: Mapping[str, Any]) -> str:
    """32 hexadecimal digits that name the content of a template of one creator."""
    told = msgspec.json.encode([creator, body], order="sorted")
    return hashlib.sha256(told).hexdigest()[:32]


def create(tx: Tx, creator: AccountId, body: dict[str, Any], now_ms: int) -> StoredTemplate:
    """Keep a template; the same content again is the same template."""
    hash_id = hash_of(creator, body)
    known = templates.by_hash(tx, hash_id)
    if known is not None:
        return known
    return templates.create(
        tx,
        creator=creator,
        hash_id=hash_id,
        name=body["name"],
        body=body,
        private=body["private"],
        now_ms=now_ms,
    )


def find(tx: Tx, reader: AccountId, template: int | None, hash_id: str | None) -> StoredTemplate:
    """A template by hash, which whoever knows it may use, or by id, when the reader may see it.

    Its registry password is its creator's alone: whoever else launches it could read it.

    Raises:
        NotFound: when neither names one.
    """
    found = None
    if hash_id:
        found = templates.by_hash(tx, hash_id)
    elif template is not None:
        found = templates.by_id(tx, TemplateId(template))
        if found is not None and found.private and found.creator_id != reader:
            found = None
    if found is None:
        raise errors.NotFound(
            f"There is no template {hash_id or template}. A change of a template gives it a new"
            " hash: search for it again."
        )
    return _without_login(found, reader)


def _without_login(found: StoredTemplate, reader: AccountId) -> StoredTemplate:
    if found.creator_id == reader:
        return found
    return msgspec.structs.replace(found, body={**found.body, "docker_login_pass": None})


def of_group(tx: Tx, group: StoredGroup) -> StoredTemplate:
    """What a worker group runs: its template as the group took it, whatever its owner did since.

    Raises:
        NotFound: when that is not known any more.
    """
    found = worker_groups.template_of(tx, group.id)
    if found is None:
        raise errors.NotFound(
            f"The template {group.template_hash} of worker group {group.id} was changed or"
            " deleted by its owner; set the group's template_hash to take the new one."
        )
    return _without_login(found, group.account_id)


def change(
    tx: Tx, creator: AccountId, found: StoredTemplate, body: dict[str, Any], now_ms: int
) -> StoredTemplate:
    """Write a template anew; somebody else's is copied, and theirs stays as it is."""
    if found.creator_id != creator:
        return create(tx, creator, body, now_ms)
    hash_id = hash_of(creator, body)
    same = templates.by_hash(tx, hash_id)
    if same is not None:
        if same.id == found.id:
            return found
        raise errors.Conflict(f"Your template {same.id} says exactly this already.")
    return templates.replace(
        tx,
        found.id,
        hash_id=hash_id,
        name=body["name"],
        body=body,
        private=body["private"],
        now_ms=now_ms,
    )


def delete(
    tx: Tx, creator: AccountId, template: int | None, hash_id: str | None, now_ms: int
) -> TemplateId:
    """Take a template away; instances made from it keep what they have."""
    found = find(tx, creator, template, hash_id)
    if found.creator_id != creator:
        raise errors.NotYours(f"Template {found.id} belongs to somebody else.")
    templates.delete(tx, found.id, now_ms)
    return found.id
