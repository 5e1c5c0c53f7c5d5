"""Templates: search, make, change, take away."""

from typing import Any, Final

import msgspec

from mercato.control.api import selecting
from mercato.control.api.call import Call, Done
from mercato.control.api.launching import options_of
from mercato.control.api.times import seconds
from mercato.control.db import Tx
from mercato.control.flows import templating
from mercato.control.store import templates
from mercato.control.store.templates import StoredTemplate
from mercato.market import errors
from mercato.market.ids import AccountId

BODY_BYTES_MAX: Final = 262_144
NAME_MAX: Final = 256


class TemplateBody(msgspec.Struct, frozen=True, kw_only=True):
    """What the creator of a template writes."""

    name: str | None = None
    image: str | None = None
    tag: str | None = None
    href: str | None = None
    repo: str | None = None
    env: str | None = None
    """Docker flags: `-e NAME=VALUE -p 8080:8080`."""
    onstart: str | None = None
    runtype: str | None = None
    args_str: str | None = None
    ssh_direct: bool = False
    use_ssh: bool = False
    jup_direct: bool = False
    jupyter_dir: str | None = None
    use_jupyter_lab: bool = False
    docker_login_repo: str | None = None
    docker_login_user: str | None = None
    docker_login_pass: str | None = None
    extra_filters: dict[str, Any] | str | None = None
    recommended_disk_space: float | None = None
    desc: str | None = None
    readme: str | None = None
    readme_visible: bool = True
    private: bool = True
    volume_info: dict[str, Any] | None = None
    autoscaler: bool = False


class ChangedTemplate(TemplateBody, frozen=True, kw_only=True):
    """A new version of a template."""

    id: int | None = None
    hash_id: str | None = None


class TemplateRow(msgspec.Struct, frozen=True, kw_only=True):
    """A template as the API shows it; a registry password is never shown."""

    id: int
    hash_id: str
    creator_id: int
    name: str
    image: str
    tag: str | None
    default_tag: str | None
    href: str | None
    repo: str | None
    env: str | None
    onstart: str | None
    runtype: str | None
    args_str: str | None
    ssh_direct: bool
    use_ssh: bool
    jup_direct: bool
    jupyter_dir: str | None
    use_jupyter_lab: bool
    docker_login_repo: str | None
    docker_login_user: str | None
    extra_filters: str
    """The filters as JSON text, as clients expect it."""
    recommended_disk_space: float | None
    desc: str | None
    readme: str | None
    readme_visible: bool
    private: bool
    volume_info: dict[str, Any] | None
    recommended: bool = False
    count_created: int
    recent_create_date: float | None
    created_at: float
    updated_at: float


COLUMNS: Final = frozenset(TemplateRow.__struct_fields__)


class TemplateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A template that was kept."""

    success: bool = True
    msg: str = ""
    template: TemplateRow


class TemplatesQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which templates."""

    select_filters: dict[str, Any] | None = None
    select_cols: list[str] | None = None
    order_by: list[Any] | None = None
    query: str | None = None
    """Text that the name, image or description contains."""


class Templates(msgspec.Struct, frozen=True, kw_only=True):
    """Templates that match."""

    success: bool = True
    templates: list[TemplateRow]
    templates_found: int


class WhichTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A template by hash or id."""

    hash_id: str | None = None
    template_id: int | None = None


def template_row(stored: StoredTemplate) -> TemplateRow:
    """A stored template as the API shows it."""
    body: dict[str, Any] = {name: stored.body.get(name) for name in _BODY_FIELDS}
    filters = body.pop("extra_filters") or {}
    body.pop("docker_login_pass")
    body.pop("autoscaler")
    body.update(name=stored.name, private=stored.private)
    return TemplateRow(
        **body,
        id=stored.id,
        hash_id=stored.hash_id,
        creator_id=stored.creator_id,
        default_tag=stored.body.get("tag"),
        extra_filters=msgspec.json.encode(filters).decode(),
        count_created=stored.count_created,
        recent_create_date=seconds(stored.recent_create_at_ms),
        created_at=seconds(stored.created_at_ms),
        updated_at=seconds(stored.updated_at_ms),
    )


_BODY_FIELDS: Final = TemplateBody.__struct_fields__


def body_of(call: Call, asked: TemplateBody) -> dict[str, Any]:
    """The content to keep: checked, with the registry password sealed."""
    body = {name: getattr(asked, name) for name in _BODY_FIELDS}
    if not (asked.name and asked.name.strip() and asked.image and asked.image.strip()):
        raise errors.InvalidRequest("A template needs a name and an image.")
    if len(asked.name) > NAME_MAX:
        raise errors.TooLong(f"A template's name has at most {NAME_MAX} characters.")
    options_of(asked.env)  # refused now and not when somebody launches it
    body["extra_filters"] = _filters(asked.extra_filters)
    if asked.docker_login_pass:
        body["docker_login_pass"] = call.services.house.box.seal(asked.docker_login_pass).decode()
    if len(msgspec.json.encode(body)) > BODY_BYTES_MAX:
        raise errors.TooLong(f"A template has at most {BODY_BYTES_MAX} bytes.")
    return body


def _filters(given: dict[str, Any] | str | None) -> dict[str, Any]:
    if isinstance(given, str):
        try:
            given = msgspec.json.decode(given) if given.strip() else {}
        except (msgspec.DecodeError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise errors.InvalidRequest("extra_filters must be an object, or its JSON text.")
    return given or {}


async def create(call: Call, asked: TemplateBody) -> TemplateAnswer:
    """Make a template."""
    body = body_of(call, asked)
    stored = await call.services.db.run(templating.create, call.account, body, call.now_ms)
    return TemplateAnswer(template=template_row(stored), msg="The template is kept.")


async def replace(call: Call, asked: ChangedTemplate) -> TemplateAnswer:
    """Write a template anew, all of it; it gets a new hash."""
    body = body_of(call, asked)
    stored = await call.services.db.run(_replace, call.account, asked, body, call.now_ms)
    return TemplateAnswer(template=template_row(stored), msg="The template has a new version.")


def _replace(
    tx: Tx, creator: AccountId, asked: ChangedTemplate, body: dict[str, Any], now_ms: int
) -> StoredTemplate:
    found = templating.find(tx, creator, asked.id, asked.hash_id)
    if not asked.docker_login_pass and found.creator_id == creator:
        body["docker_login_pass"] = found.body.get("docker_login_pass")
    return templating.change(tx, creator, found, body, now_ms)


async def edit(call: Call, asked: ChangedTemplate) -> TemplateAnswer:
    """Change the given parts of a template; it gets a new hash."""
    found = await call.services.db.run(templating.find, call.account, asked.id, asked.hash_id)
    given = {
        name: getattr(asked, name) for name in _BODY_FIELDS if call.arguments.get(name) is not None
    }
    kept = {name: found.body[name] for name in _BODY_FIELDS if found.body.get(name) is not None}
    kept.pop("docker_login_pass", None)
    whole = ChangedTemplate(**{**kept, **given}, id=asked.id, hash_id=asked.hash_id)
    return await replace(call, whole)


async def delete(call: Call, asked: WhichTemplate) -> Done:
    """Take a template away."""
    if asked.hash_id is None and asked.template_id is None:
        raise errors.InvalidRequest("Send hash_id or template_id.")
    gone = await call.services.db.run(
        templating.delete, call.account, asked.template_id, asked.hash_id, call.now_ms
    )
    return Done(msg=f"Template {gone} is deleted.")


async def search(call: Call, asked: TemplatesQuery) -> Templates:
    """Search the account's own templates and the public ones."""
    conditions = selecting.conditions(asked.select_filters, COLUMNS)
    order = selecting.order_of(asked.order_by, COLUMNS)
    rows = [template_row(t) for t in await call.services.db.run(templates.visible, call.account)]
    if asked.query:
        text = asked.query.lower()
        rows = [row for row in rows if text in f"{row.name} {row.image} {row.desc or ''}".lower()]
    found = [
        row
        for row in (msgspec.structs.asdict(row) for row in rows)
        if selecting.matches(row, conditions)
    ]
    shown = [TemplateRow(**row) for row in selecting.ordered(found, order)]
    return Templates(templates=shown, templates_found=len(shown))
