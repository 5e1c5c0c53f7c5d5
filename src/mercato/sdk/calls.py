"""The calls of the public API for renters and hosts, one function each."""

from collections.abc import Mapping, Sequence
from typing import Any

from mercato.market.usage import Statement
from mercato.sdk import query as language
from mercato.sdk.call import Call, done, many, one, whole
from mercato.sdk.shapes import (
    ApiKey,
    Charge,
    Deed,
    Deposit,
    Instance,
    Limit,
    Machine,
    Offer,
    Prepaid,
    Rented,
    SshKey,
    Template,
    User,
)

PAGE: int = 25
"""The most instances that one answer carries."""


def search(
    text: str = "",
    *,
    order: str = "score-",
    limit: int | None = None,
    kind: str = "on-demand",
    storage_gb: float = 5.0,
    defaults: bool = True,
) -> Call[list[Offer]]:
    """Offers that match query text such as `gpu_name=RTX_4090 num_gpus>=2`.

    `kind` is on-demand, reserved or bid; prices include `storage_gb`; `defaults=False` also
    finds what is unverified or taken.
    """
    body: dict[str, Any] = dict(language.parse(text, defaults=defaults))
    body |= {"order": language.order(order), "type": kind, "allocated_storage": storage_gb}
    if limit is not None:
        body["limit"] = limit
    return Call("POST", "/bundles/", many(Offer, "offers"), body=body)


def rent(  # noqa: PLR0913 - a rental has these parts, each named
    offer: int,
    *,
    image: str | None = None,
    template: str | None = None,
    disk_gb: float = 10.0,
    env: Mapping[str, str] | str | None = None,
    onstart: str | None = None,
    label: str | None = None,
    runtype: str | None = "ssh_direct ssh_proxy",
    args: Sequence[str] | None = None,
    login: str | None = None,
    bid: float | None = None,
    reschedule: bool = False,
    cancel_unavailable: bool = True,
) -> Call[Rented]:
    """Rent an offer: from an image, or a template by its hash.

    `bid` in dollars an hour makes it interruptible; with `reschedule` it may come back on any equal
    GPUs of its machine. `cancel_unavailable=False` lets it wait for GPUs that it does not get now.
    """
    body = {
        "client_id": "me",
        "image": image,
        "template_hash_id": template,
        "disk": disk_gb,
        "env": env,
        "onstart": onstart,
        "label": label,
        "runtype": None if template else runtype,
        "args": list(args) if args is not None else None,
        "image_login": login,
        "price": bid,
        "reschedule": reschedule or None,
        "cancel_unavail": cancel_unavailable,
    }
    kept = {name: value for name, value in body.items() if value is not None}
    return Call("PUT", f"/asks/{offer}/", one(Rented), body=kept, repeatable=False)


def instances_page(after: str | None = None) -> Call[tuple[list[Instance], str | None]]:
    """One page of the account's instances, and the token of the next."""
    rows = many(Instance, "instances")
    return Call(
        "GET",
        "/api/v1/instances/",
        lambda answer: (rows(answer), answer.get("next_token")),
        query={"limit": PAGE, "after_token": after},
    )


def instance(instance: int) -> Call[Instance | None]:
    """One instance; None when there is no such."""
    found = one(Instance, "instances")
    return Call(
        "GET",
        f"/instances/{instance}/",
        lambda answer: None if answer["instances"] is None else found(answer),
        query={"owner": "me"},
    )


def start(instance: int) -> Call[None]:
    """Have a stopped instance run again, once its GPUs are free."""
    return Call("PUT", f"/instances/{instance}/", done, body={"state": "running"})


def stop(instance: int) -> Call[None]:
    """Stop an instance: its disk is kept and billed, its GPUs are let go."""
    return Call("PUT", f"/instances/{instance}/", done, body={"state": "stopped"})


def label(instance: int, text: str) -> Call[None]:
    """Give an instance a name of one's own."""
    return Call("PUT", f"/instances/{instance}/", done, body={"label": text})


def reboot(instance: int) -> Call[None]:
    """Restart an instance's container in place."""
    return Call("PUT", f"/instances/reboot/{instance}/", done, body={}, repeatable=False)


def recycle(instance: int) -> Call[None]:
    """Make an instance's container anew from its image, keeping its GPUs."""
    return Call("PUT", f"/instances/recycle/{instance}/", done, body={}, repeatable=False)


def destroy(instance: int) -> Call[None]:
    """End a rental and delete its disk for good."""
    return Call("DELETE", f"/instances/{instance}/", done, body={})


def request_logs(instance: int, *, tail: int = 1_000, daemon: bool = False) -> Call[str]:
    """Ask for the last lines of an instance's output; the answer is the address to read."""
    body: dict[str, Any] = {"tail": str(tail)}
    if daemon:
        body["daemon_logs"] = "true"
    return Call("PUT", f"/instances/request_logs/{instance}/", _result_url, body=body)


def request_command(instance: int, command: str) -> Call[str]:
    """Run a shell command inside; the answer is the address to read its output from."""
    return Call(
        "PUT",
        f"/instances/command/{instance}/",
        _result_url,
        body={"command": command},
        repeatable=False,
    )


def _result_url(answer: Any) -> str:
    return str(answer["result_url"])


def attach_key(instance: int, public_key: str) -> Call[None]:
    """Let a public key into one instance."""
    return Call("POST", f"/instances/{instance}/ssh/", done, body={"ssh_key": public_key})


def templates(filters: Mapping[str, Any] | None = None) -> Call[list[Template]]:
    """Templates that match: one's own and the public ones."""
    return Call(
        "GET",
        "/template/",
        many(Template, "templates"),
        query={"select_cols": ["*"], "select_filters": dict(filters or {})},
    )


def create_template(fields: Mapping[str, Any]) -> Call[Template]:
    """Keep a template; `fields` as the API names them (name, image, env, onstart, ...)."""
    return Call(
        "POST", "/template/", one(Template, "template"), body=dict(fields), repeatable=False
    )


def change_template(hash_id: str, fields: Mapping[str, Any]) -> Call[Template]:
    """Change the given fields of a template of one's own; it gets another hash."""
    body = {"hash_id": hash_id, **fields}
    return Call("PUT", "/template/", one(Template, "template"), body=body, repeatable=False)


def delete_template(hash_id: str) -> Call[None]:
    """Delete a template of one's own."""
    return Call("DELETE", "/template/", done, body={"hash_id": hash_id})


def user() -> Call[User]:
    """The account that the key belongs to, with its credit."""
    return Call("GET", "/users/current", one(User))


def ssh_keys() -> Call[list[SshKey]]:
    """The account's public keys."""
    return Call("GET", "/ssh/", many(SshKey, "ssh_keys"))


def add_ssh_key(public_key: str) -> Call[SshKey]:
    """Let a public key into every instance rented from now on."""
    return Call("POST", "/ssh/", one(SshKey, "key"), body={"ssh_key": public_key}, repeatable=False)


def delete_ssh_key(key: int) -> Call[None]:
    """Forget a public key."""
    return Call("DELETE", f"/ssh/{key}/", done, body={})


def api_keys() -> Call[list[ApiKey]]:
    """The account's API keys, without their secrets."""
    return Call("GET", "/auth/apikeys/", many(ApiKey, "apikeys"))


def create_api_key(name: str, permissions: Mapping[str, Any] | None = None) -> Call[ApiKey]:
    """Make an API key; its secret is in this answer and never again."""
    body: dict[str, Any] = {"name": name}
    if permissions is not None:
        body["permissions"] = permissions
    return Call("POST", "/auth/apikeys/", one(ApiKey), body=body, repeatable=False)


def delete_api_key(key: int) -> Call[None]:
    """Revoke an API key."""
    return Call("DELETE", f"/auth/apikeys/{key}/", done, body={})


def audit() -> Call[list[Deed]]:
    """What was changed with the account's keys, the latest first."""
    return Call("GET", "/audit_logs/", many(Deed))


def machines() -> Call[list[Machine]]:
    """The machines that the account hosts."""
    return Call("GET", "/machines", many(Machine, "machines"), query={"owner": "me"})


def list_machine(  # noqa: PLR0913 - a listing has these terms, each named
    machine: int,
    *,
    gpu: float,
    disk: float | None = None,
    up: float | None = None,
    down: float | None = None,
    min_bid: float | None = None,
    notice_s: float | None = None,
    min_run_s: float | None = None,
    pricing: str | None = None,
    min_chunk: int | None = None,
    end_date: float | None = None,
    duration: str | None = None,
    discount_max: float | None = None,
    volumes: float | None = None,
) -> Call[None]:
    """Put a machine on sale, or change its prices.

    Dollars: `gpu` and `min_bid` per GPU and hour, `disk` per GB and month, `up` and `down` per GB.
    `min_chunk` is the smallest number of GPUs let together, `end_date` seconds since the epoch,
    `volumes` the GB of its disk that are let as volumes.
    Bids are warned `notice_s` seconds before they are displaced, are safe from other bids for their
    first `min_run_s`, and pay by `pricing`: `bid` what they offer, `uniform` what they had to beat.
    None leaves a term of a machine that is on sale as it is; of another it is the market's default.
    """
    body = {
        "machine": machine,
        "price_gpu": gpu,
        "price_disk": disk,
        "price_inetu": up,
        "price_inetd": down,
        "price_min_bid": min_bid,
        "bid_notice": notice_s,
        "bid_min_run": min_run_s,
        "bid_pricing": pricing,
        "min_chunk": min_chunk,
        "end_date": end_date,
        "duration": duration,
        "credit_discount_max": discount_max,
        "vol_size": volumes,
    }
    return Call("PUT", "/machines/create_asks/", done, body=body)


def unlist_machine(machine: int) -> Call[None]:
    """Take a machine off sale; contracts that were signed go on."""
    return Call("DELETE", f"/machines/{machine}/asks/", done, body={})


def set_job(
    machine: int,
    image: str,
    args: Sequence[str] = (),
    *,
    price: float | None = None,
    disk_gb: float = 10.0,
) -> Call[None]:
    """Have a machine run an image on all GPUs that nobody rents; any renter displaces it.

    `price` is what a GPU and hour of it is worth in dollars: bids on the machine begin there at
    the least. `disk_gb` is for each smallest slice of the machine.
    """
    body = {
        "machine": machine,
        "image": image,
        "args": list(args),
        "price_gpu": price,
        "disk": disk_gb,
    }
    return Call("PUT", "/machines/create_bids/", done, body=body)


def remove_job(machine: int) -> Call[None]:
    """End what a machine runs while nobody rents it."""
    return Call("DELETE", f"/machines/{machine}/defjob/", done, body={}, repeatable=False)


def delete_machine(machine: int) -> Call[None]:
    """Forget a machine that nobody rents."""
    return Call("POST", f"/machines/{machine}/force_delete/", done, body={})


def join_token() -> Call[str]:
    """Make a token with which one machine can join as the account's, once."""
    return Call(
        "POST",
        "/machines/join_token/",
        lambda answer: str(answer["token"]),
        body={},
        repeatable=False,
    )


def charges_page(
    first_day: int, last_day: int, after: str | None = None
) -> Call[tuple[list[Charge], str | None]]:
    """One page of what the account's contracts cost between two times (seconds since the epoch)."""
    rows = many(Charge, "results")
    return Call(
        "GET",
        "/charges/",
        lambda answer: (rows(answer), answer.get("next_token")),
        query={
            "select_filters": {"day": {"gte": first_day, "lte": last_day}},
            "latest_first": True,
            "limit": 100,
            "format": "tree",
            "after_token": after,
        },
    )


def statement(*, since: float = 0.0, after: int | None = None) -> Call[Statement]:
    """The account's signed usage records: those issued since a time, or after a number."""
    return Call("GET", "/usage_records/", one(Statement), query={"since": since, "after": after})


def usage_key() -> Call[str]:
    """The public key by which a statement of this market is checked, in hexadecimal."""
    return Call("GET", "/usage_records/key/", lambda answer: str(answer["public_key"]))


def limits() -> Call[list[Limit]]:
    """The account's spending limits, and how much of each is used."""
    return Call("GET", "/limits/", many(Limit, "limits"))


def set_limit(
    amount: float,
    period: str = "total",
    *,
    scope: str = "account",
    scope_id: int | None = None,
    action: str = "stop",
) -> Call[Limit]:
    """Limit what is spent to `amount` dollars per hour, day or month, or in total.

    `scope` is account, key, member, instance or endpoint; `action` is stop or notify. A limit on
    the same thing and period takes the new amount.
    """
    body = {
        "amount": amount,
        "period": period,
        "scope": scope,
        "scope_id": scope_id,
        "action": action,
    }
    return Call("POST", "/limits/", one(Limit, "limit"), body=body)


def remove_limit(limit: int) -> Call[None]:
    """Take a spending limit away."""
    return Call("DELETE", f"/limits/{limit}/", done, body={})


def prepay(instance: int, amount: float) -> Call[Prepaid]:
    """Move `amount` dollars of credit into an instance's deposit, for a discount."""
    return Call(
        "PUT",
        f"/instances/prepay/{instance}/",
        one(Prepaid),
        body={"amount": amount},
        repeatable=False,
    )


def deposit(instance: int) -> Call[Deposit]:
    """What is left of what was prepaid for an instance."""
    return Call("GET", f"/instances/balance/{instance}/", one(Deposit))


def raw(method: str, path: str, body: Mapping[str, Any] | None = None) -> Call[Any]:
    """Any other call, answered as it is."""
    return Call(method, path, whole, body=body, repeatable=method == "GET")
