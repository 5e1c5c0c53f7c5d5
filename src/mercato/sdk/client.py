"""The two clients: `Mercato`, which blocks, and `AsyncMercato`, which is awaited.

Both are tables of the calls in the modules beside this one; what a method takes and answers is
written there once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar

from mercato.sdk import (
    admin_calls,
    bid_calls,
    calls,
    endpoint_calls,
    lasting_calls,
    money_calls,
    notice_calls,
    team_calls,
    trade_calls,
)
from mercato.sdk.serverless import AsyncEndpoint, Endpoint
from mercato.sdk.transport import Awaiting, Blocking

if TYPE_CHECKING:
    from types import TracebackType

    from mercato.sdk.call import Call
    from mercato.sdk.endpoint_calls import Traffic
    from mercato.sdk.shapes import Charge, Instance

P = ParamSpec("P")
T = TypeVar("T")


class _Does(Generic[P, T]):
    """A method of `Mercato` that makes one call."""

    def __init__(self, describe: Callable[P, Call[T]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    def __get__(self, client: Mercato, _owner: type[Mercato]) -> Callable[P, T]:
        def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return client.send(self._describe(*args, **kwargs))

        return method


class _Awaits(Generic[P, T]):
    """A method of `AsyncMercato` that makes one call."""

    def __init__(self, describe: Callable[P, Call[T]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    def __get__(
        self, client: AsyncMercato, _owner: type[AsyncMercato]
    ) -> Callable[P, Awaitable[T]]:
        async def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return await client.send(self._describe(*args, **kwargs))

        return method


class Mercato:
    """A client that blocks: `with Mercato(url, key) as market: market.search("num_gpus>=2")`."""

    def __init__(self, url: str, key: str | None = None, **transport: Any) -> None:
        """Talk to the server at `url` as the account of `key`; see `transport.Blocking`."""
        self.transport = Blocking(url, key, **transport)
        self._key = key
        self._endpoints: dict[tuple[str, str], Endpoint] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        for endpoint in self._endpoints.values():
            endpoint.close()
        self.transport.close()

    def send(self, call: Call[T]) -> T:
        """Make a call and read its answer."""
        return self.transport.send(call)

    def fetch(self, call: Call[Any]) -> Any:
        """Make a call; the decoded JSON as the server gave it."""
        return self.transport.fetch(call)

    search = _Does(calls.search)
    rent = _Does(calls.rent)
    instance = _Does(calls.instance)
    start = _Does(calls.start)
    stop = _Does(calls.stop)
    label = _Does(calls.label)
    reboot = _Does(calls.reboot)
    change_bid = _Does(bid_calls.change_bid)
    reschedule = _Does(bid_calls.reschedule)
    try_bid = _Does(bid_calls.try_bid)
    recycle = _Does(calls.recycle)
    destroy = _Does(calls.destroy)
    attach_key = _Does(calls.attach_key)
    templates = _Does(calls.templates)
    create_template = _Does(calls.create_template)
    change_template = _Does(calls.change_template)
    delete_template = _Does(calls.delete_template)
    user = _Does(calls.user)
    ssh_keys = _Does(calls.ssh_keys)
    add_ssh_key = _Does(calls.add_ssh_key)
    delete_ssh_key = _Does(calls.delete_ssh_key)
    api_keys = _Does(calls.api_keys)
    create_api_key = _Does(calls.create_api_key)
    delete_api_key = _Does(calls.delete_api_key)
    audit = _Does(calls.audit)
    machines = _Does(calls.machines)
    list_machine = _Does(calls.list_machine)
    unlist_machine = _Does(calls.unlist_machine)
    delete_machine = _Does(calls.delete_machine)
    join_token = _Does(calls.join_token)
    statement = _Does(calls.statement)
    usage_key = _Does(calls.usage_key)
    limits = _Does(calls.limits)
    set_limit = _Does(calls.set_limit)
    remove_limit = _Does(calls.remove_limit)
    prepay = _Does(calls.prepay)
    deposit = _Does(calls.deposit)
    endpoints = _Does(endpoint_calls.endpoints)
    create_endpoint = _Does(endpoint_calls.create_endpoint)
    change_endpoint = _Does(endpoint_calls.change_endpoint)
    delete_endpoint = _Does(endpoint_calls.delete_endpoint)
    worker_groups = _Does(endpoint_calls.worker_groups)
    create_worker_group = _Does(endpoint_calls.create_worker_group)
    change_worker_group = _Does(endpoint_calls.change_worker_group)
    delete_worker_group = _Does(endpoint_calls.delete_worker_group)
    renew_workers = _Does(endpoint_calls.renew_workers)
    decisions = _Does(endpoint_calls.decisions)
    endpoint_workers = _Does(endpoint_calls.endpoint_workers)
    endpoint_logs = _Does(endpoint_calls.endpoint_logs)
    teams = _Does(team_calls.teams)
    create_team = _Does(team_calls.create_team)
    end_team = _Does(team_calls.end_team)
    join_team = _Does(team_calls.join_team)
    leave_team = _Does(team_calls.leave_team)
    create_team_key = _Does(team_calls.create_team_key)
    team_members = _Does(team_calls.members)
    team_invitations = _Does(team_calls.invited)
    invite_member = _Does(team_calls.invite)
    give_team_role = _Does(team_calls.give_role)
    remove_member = _Does(team_calls.remove_member)
    team_roles = _Does(team_calls.roles)
    create_team_role = _Does(team_calls.create_role)
    change_team_role = _Does(team_calls.change_role)
    remove_team_role = _Does(team_calls.remove_role)
    payments = _Does(money_calls.payments)
    pay_in = _Does(money_calls.pay_in)
    pay_out_to = _Does(money_calls.pay_out_to)
    use_earnings = _Does(money_calls.use_earnings)
    transfer_credit = _Does(money_calls.transfer_credit)
    set_thresholds = _Does(money_calls.set_thresholds)
    earnings = _Does(money_calls.earnings)
    webhooks = _Does(notice_calls.webhooks)
    add_webhook = _Does(notice_calls.add_webhook)
    change_webhook = _Does(notice_calls.change_webhook)
    remove_webhook = _Does(notice_calls.remove_webhook)
    test_webhook = _Does(notice_calls.test_webhook)
    rotate_webhook_secret = _Does(notice_calls.rotate_webhook_secret)
    told = _Does(notice_calls.told)
    notifications = _Does(notice_calls.notifications)
    orders = _Does(trade_calls.orders)
    place_order = _Does(trade_calls.place_order)
    cancel_order = _Does(trade_calls.cancel_order)
    prices = _Does(trade_calls.prices)
    price_history = _Does(trade_calls.price_history)
    depth = _Does(trade_calls.depth)
    survival = _Does(trade_calls.survival)
    search_volumes = _Does(trade_calls.search_volumes)
    volumes = _Does(trade_calls.volumes)
    create_volume = _Does(trade_calls.create_volume)
    clone_volume = _Does(trade_calls.clone_volume)
    delete_volume = _Does(trade_calls.delete_volume)
    sell_volumes = _Does(trade_calls.sell_volumes)
    withdraw_volumes = _Does(trade_calls.withdraw_volumes)
    price_increases = _Does(lasting_calls.price_increases)
    answer_price_increase = _Does(lasting_calls.answer_price_increase)
    maintenances = _Does(lasting_calls.maintenances)
    announce_maintenance = _Does(lasting_calls.announce_maintenance)
    cancel_maintenance = _Does(lasting_calls.cancel_maintenance)
    set_min_bid = _Does(lasting_calls.set_min_bid)
    clean_up = _Does(lasting_calls.clean_up)
    update_instance = _Does(lasting_calls.update_instance)
    variables = _Does(lasting_calls.variables)
    create_variable = _Does(lasting_calls.create_variable)
    change_variable = _Does(lasting_calls.change_variable)
    delete_variable = _Does(lasting_calls.delete_variable)
    accounts = _Does(admin_calls.accounts)
    create_account = _Does(admin_calls.create_account)
    add_credit = _Does(admin_calls.add_credit)
    all_machines = _Does(admin_calls.all_machines)
    verify = _Does(admin_calls.verify)
    loops = _Does(admin_calls.loops)
    waiting_payments = _Does(admin_calls.waiting_payments)
    settle_payment = _Does(admin_calls.settle_payment)
    refund_payment = _Does(admin_calls.refund_payment)

    def endpoint(self, name: str, *, engine: str | None = None) -> Endpoint:
        """The endpoint of that name, to send requests to; see serverless.py.

        `engine` is the Serverless Engine's address where that is not the server's own.
        """
        at = engine or self.transport.base_url
        found = self._endpoints.get((at, name))
        if found is None:
            found = self._endpoints[at, name] = Endpoint(at, self._key, name)
        return found

    def instances(self) -> list[Instance]:
        """All the account's instances, page after page."""
        rows: list[Instance] = []
        after: str | None = None
        while True:
            page, after = self.send(calls.instances_page(after))
            rows += page
            if not after:
                return rows

    def charges(self, first_day: int, last_day: int) -> list[Charge]:
        """What the account's contracts cost between two times, newest first."""
        rows: list[Charge] = []
        after: str | None = None
        while True:
            page, after = self.send(calls.charges_page(first_day, last_day, after))
            rows += page
            if not after:
                return rows

    def invoices(self, first: float, last: float) -> list[Charge]:
        """What came into or left the credit other than for rentals between two times."""
        rows: list[Charge] = []
        after: str | None = None
        while True:
            page, after = self.send(money_calls.invoices_page(first, last, after))
            rows += page
            if not after:
                return rows

    def traffic(self, endpoint: int, since: float, until: float) -> Traffic:
        """How much was asked of an endpoint between two times, in seconds since the epoch."""
        calls_of_days = [
            endpoint_calls.traffic_of_day(endpoint, *span)
            for span in endpoint_calls.spans(since, until)
        ]
        return endpoint_calls.joined([self.send(call) for call in calls_of_days])

    def logs(self, instance: int, *, tail: int = 1_000, daemon: bool = False) -> str:
        """The last `tail` lines of an instance's output, or of its host's log about it."""
        return self.transport.result(
            self.send(calls.request_logs(instance, tail=tail, daemon=daemon))
        )

    def execute(self, instance: int, command: str) -> str:
        """Run a shell command in an instance; what it printed."""
        return self.transport.result(self.send(calls.request_command(instance, command)))


class AsyncMercato:
    """The same, for asyncio: `async with AsyncMercato(url, key) as market: await market.user()`."""

    def __init__(self, url: str, key: str | None = None, **transport: Any) -> None:
        """Talk to the server at `url` as the account of `key`; see `transport.Awaiting`."""
        self.transport = Awaiting(url, key, **transport)
        self._key = key
        self._endpoints: dict[tuple[str, str], AsyncEndpoint] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        for endpoint in self._endpoints.values():
            await endpoint.close()
        await self.transport.close()

    async def send(self, call: Call[T]) -> T:
        """Make a call and read its answer."""
        return await self.transport.send(call)

    async def fetch(self, call: Call[Any]) -> Any:
        """Make a call; the decoded JSON as the server gave it."""
        return await self.transport.fetch(call)

    search = _Awaits(calls.search)
    rent = _Awaits(calls.rent)
    instance = _Awaits(calls.instance)
    start = _Awaits(calls.start)
    stop = _Awaits(calls.stop)
    label = _Awaits(calls.label)
    reboot = _Awaits(calls.reboot)
    change_bid = _Awaits(bid_calls.change_bid)
    reschedule = _Awaits(bid_calls.reschedule)
    try_bid = _Awaits(bid_calls.try_bid)
    recycle = _Awaits(calls.recycle)
    destroy = _Awaits(calls.destroy)
    attach_key = _Awaits(calls.attach_key)
    templates = _Awaits(calls.templates)
    create_template = _Awaits(calls.create_template)
    change_template = _Awaits(calls.change_template)
    delete_template = _Awaits(calls.delete_template)
    user = _Awaits(calls.user)
    ssh_keys = _Awaits(calls.ssh_keys)
    add_ssh_key = _Awaits(calls.add_ssh_key)
    delete_ssh_key = _Awaits(calls.delete_ssh_key)
    api_keys = _Awaits(calls.api_keys)
    create_api_key = _Awaits(calls.create_api_key)
    delete_api_key = _Awaits(calls.delete_api_key)
    audit = _Awaits(calls.audit)
    machines = _Awaits(calls.machines)
    list_machine = _Awaits(calls.list_machine)
    unlist_machine = _Awaits(calls.unlist_machine)
    delete_machine = _Awaits(calls.delete_machine)
    join_token = _Awaits(calls.join_token)
    statement = _Awaits(calls.statement)
    usage_key = _Awaits(calls.usage_key)
    limits = _Awaits(calls.limits)
    set_limit = _Awaits(calls.set_limit)
    remove_limit = _Awaits(calls.remove_limit)
    prepay = _Awaits(calls.prepay)
    deposit = _Awaits(calls.deposit)
    endpoints = _Awaits(endpoint_calls.endpoints)
    create_endpoint = _Awaits(endpoint_calls.create_endpoint)
    change_endpoint = _Awaits(endpoint_calls.change_endpoint)
    delete_endpoint = _Awaits(endpoint_calls.delete_endpoint)
    worker_groups = _Awaits(endpoint_calls.worker_groups)
    create_worker_group = _Awaits(endpoint_calls.create_worker_group)
    change_worker_group = _Awaits(endpoint_calls.change_worker_group)
    delete_worker_group = _Awaits(endpoint_calls.delete_worker_group)
    renew_workers = _Awaits(endpoint_calls.renew_workers)
    decisions = _Awaits(endpoint_calls.decisions)
    endpoint_workers = _Awaits(endpoint_calls.endpoint_workers)
    endpoint_logs = _Awaits(endpoint_calls.endpoint_logs)
    teams = _Awaits(team_calls.teams)
    create_team = _Awaits(team_calls.create_team)
    end_team = _Awaits(team_calls.end_team)
    join_team = _Awaits(team_calls.join_team)
    leave_team = _Awaits(team_calls.leave_team)
    create_team_key = _Awaits(team_calls.create_team_key)
    team_members = _Awaits(team_calls.members)
    team_invitations = _Awaits(team_calls.invited)
    invite_member = _Awaits(team_calls.invite)
    give_team_role = _Awaits(team_calls.give_role)
    remove_member = _Awaits(team_calls.remove_member)
    team_roles = _Awaits(team_calls.roles)
    create_team_role = _Awaits(team_calls.create_role)
    change_team_role = _Awaits(team_calls.change_role)
    remove_team_role = _Awaits(team_calls.remove_role)
    payments = _Awaits(money_calls.payments)
    pay_in = _Awaits(money_calls.pay_in)
    pay_out_to = _Awaits(money_calls.pay_out_to)
    use_earnings = _Awaits(money_calls.use_earnings)
    transfer_credit = _Awaits(money_calls.transfer_credit)
    set_thresholds = _Awaits(money_calls.set_thresholds)
    earnings = _Awaits(money_calls.earnings)
    webhooks = _Awaits(notice_calls.webhooks)
    add_webhook = _Awaits(notice_calls.add_webhook)
    change_webhook = _Awaits(notice_calls.change_webhook)
    remove_webhook = _Awaits(notice_calls.remove_webhook)
    test_webhook = _Awaits(notice_calls.test_webhook)
    rotate_webhook_secret = _Awaits(notice_calls.rotate_webhook_secret)
    told = _Awaits(notice_calls.told)
    notifications = _Awaits(notice_calls.notifications)
    orders = _Awaits(trade_calls.orders)
    place_order = _Awaits(trade_calls.place_order)
    cancel_order = _Awaits(trade_calls.cancel_order)
    prices = _Awaits(trade_calls.prices)
    price_history = _Awaits(trade_calls.price_history)
    depth = _Awaits(trade_calls.depth)
    survival = _Awaits(trade_calls.survival)
    search_volumes = _Awaits(trade_calls.search_volumes)
    volumes = _Awaits(trade_calls.volumes)
    create_volume = _Awaits(trade_calls.create_volume)
    clone_volume = _Awaits(trade_calls.clone_volume)
    delete_volume = _Awaits(trade_calls.delete_volume)
    sell_volumes = _Awaits(trade_calls.sell_volumes)
    withdraw_volumes = _Awaits(trade_calls.withdraw_volumes)
    price_increases = _Awaits(lasting_calls.price_increases)
    answer_price_increase = _Awaits(lasting_calls.answer_price_increase)
    maintenances = _Awaits(lasting_calls.maintenances)
    announce_maintenance = _Awaits(lasting_calls.announce_maintenance)
    cancel_maintenance = _Awaits(lasting_calls.cancel_maintenance)
    set_min_bid = _Awaits(lasting_calls.set_min_bid)
    clean_up = _Awaits(lasting_calls.clean_up)
    update_instance = _Awaits(lasting_calls.update_instance)
    variables = _Awaits(lasting_calls.variables)
    create_variable = _Awaits(lasting_calls.create_variable)
    change_variable = _Awaits(lasting_calls.change_variable)
    delete_variable = _Awaits(lasting_calls.delete_variable)
    accounts = _Awaits(admin_calls.accounts)
    create_account = _Awaits(admin_calls.create_account)
    add_credit = _Awaits(admin_calls.add_credit)
    all_machines = _Awaits(admin_calls.all_machines)
    verify = _Awaits(admin_calls.verify)
    loops = _Awaits(admin_calls.loops)
    waiting_payments = _Awaits(admin_calls.waiting_payments)
    settle_payment = _Awaits(admin_calls.settle_payment)
    refund_payment = _Awaits(admin_calls.refund_payment)

    def endpoint(self, name: str, *, engine: str | None = None) -> AsyncEndpoint:
        """The endpoint of that name, to send requests to; see serverless.py.

        `engine` is the Serverless Engine's address where that is not the server's own.
        """
        at = engine or self.transport.base_url
        found = self._endpoints.get((at, name))
        if found is None:
            found = self._endpoints[at, name] = AsyncEndpoint(at, self._key, name)
        return found

    async def instances(self) -> list[Instance]:
        """All the account's instances, page after page."""
        rows: list[Instance] = []
        after: str | None = None
        while True:
            page, after = await self.send(calls.instances_page(after))
            rows += page
            if not after:
                return rows

    async def charges(self, first_day: int, last_day: int) -> list[Charge]:
        """What the account's contracts cost between two times, newest first."""
        rows: list[Charge] = []
        after: str | None = None
        while True:
            page, after = await self.send(calls.charges_page(first_day, last_day, after))
            rows += page
            if not after:
                return rows

    async def invoices(self, first: float, last: float) -> list[Charge]:
        """What came into or left the credit other than for rentals between two times."""
        rows: list[Charge] = []
        after: str | None = None
        while True:
            page, after = await self.send(money_calls.invoices_page(first, last, after))
            rows += page
            if not after:
                return rows

    async def traffic(self, endpoint: int, since: float, until: float) -> Traffic:
        """How much was asked of an endpoint between two times, in seconds since the epoch."""
        calls_of_days = [
            endpoint_calls.traffic_of_day(endpoint, *span)
            for span in endpoint_calls.spans(since, until)
        ]
        return endpoint_calls.joined([await self.send(call) for call in calls_of_days])

    async def logs(self, instance: int, *, tail: int = 1_000, daemon: bool = False) -> str:
        """The last `tail` lines of an instance's output, or of its host's log about it."""
        address = await self.send(calls.request_logs(instance, tail=tail, daemon=daemon))
        return await self.transport.result(address)

    async def execute(self, instance: int, command: str) -> str:
        """Run a shell command in an instance; what it printed."""
        return await self.transport.result(
            await self.send(calls.request_command(instance, command))
        )
