"""Every route in one table: method, path, permission, function.

What a route takes and answers and what it is for are read from its function (route.py); serving,
permissions, audit, OpenAPI and the docs page all come from here. A test tries every row without a
key.
"""

from dataclasses import replace
from typing import Final

from mercato.control.api import (
    accounts,
    background,
    bidding,
    creating,
    deployments,
    earnings,
    endpoints,
    health,
    hosting,
    instances,
    invoices,
    keys,
    lasting,
    later,
    money,
    offers,
    operating,
    orders,
    outputs,
    payments,
    prices,
    recorded,
    reserving,
    rolling,
    spending,
    teams,
    templates,
    uploads,
    usage,
    variables,
    volumes,
    webhooks,
)
from mercato.control.api.route import Handle, Route
from mercato.market.access import Permission

V0: Final = "/api/v0"
V1: Final = "/api/v1"

P = Permission


def _refused(method: str, path: str, permission: Permission) -> Route:
    """A change that is not offered yet."""
    handle: Handle = later.refuse_by_id if "{id}" in path else later.refuse
    silent = (method, path.removeprefix(f"{V0}/")) in SILENT
    return Route(method, path, permission, handle, reads=True, refused_in_body=silent)


SILENT: Final = {("PUT", "machines/defrag_offers")}
"""Where the official CLI would not show the words of a refusal."""


ACCOUNT: Final = (
    Route("GET", f"{V0}/users/current", P.USER_READ, accounts.show_user),
    Route("PUT", f"{V0}/users", P.USER_WRITE, accounts.set_user),
    Route("POST", f"{V0}/users", P.USER_WRITE, accounts.create_subaccount, refused_in_body=True),
    Route("GET", f"{V0}/subaccounts", P.USER_READ, accounts.list_subaccounts),
    Route("GET", f"{V0}/audit_logs", P.MISC, accounts.list_audit),
    Route("GET", f"{V0}/users/me/ipaddrs", P.USER_READ, accounts.list_addresses),
    Route("GET", f"{V0}/auth/apikeys", P.USER_READ, keys.list_api_keys),
    Route("POST", f"{V0}/auth/apikeys", P.USER_WRITE, keys.create_api_key),
    Route("GET", f"{V0}/auth/apikeys/{{id}}", P.USER_READ, keys.show_api_key),
    Route("DELETE", f"{V0}/auth/apikeys/{{id}}", P.USER_WRITE, keys.delete_api_key),
    Route("PUT", f"{V0}/commands/reset_apikey", P.USER_WRITE, keys.reset_api_key),
    Route("GET", f"{V0}/ssh", P.USER_READ, keys.list_ssh_keys),
    Route("POST", f"{V0}/ssh", P.USER_WRITE, keys.create_ssh_key),
    Route("PUT", f"{V0}/ssh/{{id}}", P.USER_WRITE, keys.change_ssh_key),
    Route("DELETE", f"{V0}/ssh/{{id}}", P.USER_WRITE, keys.delete_ssh_key),
    Route("GET", f"{V0}/secrets", P.USER_READ, variables.list_variables),
    Route("POST", f"{V0}/secrets", P.USER_WRITE, variables.create_variable),
    Route("PUT", f"{V0}/secrets", P.USER_WRITE, variables.update_variable),
    Route("DELETE", f"{V0}/secrets", P.USER_WRITE, variables.delete_variable),
    Route("GET", f"{V0}/notifications", P.USER_READ, webhooks.list_notifications),
    Route("GET", f"{V0}/webhooks", P.USER_READ, webhooks.list_webhooks),
    Route("POST", f"{V0}/webhooks", P.USER_WRITE, webhooks.create_webhook),
    Route("PUT", f"{V0}/webhooks/{{id}}", P.USER_WRITE, webhooks.change_webhook),
    Route("DELETE", f"{V0}/webhooks/{{id}}", P.USER_WRITE, webhooks.delete_webhook),
    Route("POST", f"{V0}/webhooks/{{id}}/rotate", P.USER_WRITE, webhooks.rotate_secret),
    Route("POST", f"{V0}/webhooks/{{id}}/test", P.USER_WRITE, webhooks.test_webhook),
    Route("GET", f"{V0}/webhooks/{{id}}/notices", P.USER_READ, webhooks.list_notices),
    Route("GET", f"{V0}/users/cloud_integrations", P.USER_READ, later.no_list),
    Route("GET", f"{V0}/tfa/status", P.USER_READ, later.no_second_factor),
)

TEAMS: Final = (
    Route("POST", f"{V0}/team", P.USER_WRITE, teams.create_team),
    Route("DELETE", f"{V0}/team", P.USER_WRITE, teams.destroy_team),
    Route("GET", f"{V0}/teams", P.USER_READ, teams.list_teams),
    Route("POST", f"{V0}/teams/{{id}}/join", P.USER_WRITE, teams.join_team),
    Route("DELETE", f"{V0}/teams/{{id}}", P.USER_WRITE, teams.leave_team),
    Route("GET", f"{V0}/team/members", P.TEAM_READ, teams.list_members),
    Route("PUT", f"{V0}/team/members/{{id}}", P.TEAM_WRITE, teams.give_role),
    Route("DELETE", f"{V0}/team/members/{{id}}", P.TEAM_WRITE, teams.remove_member),
    Route("GET", f"{V0}/team/invite", P.TEAM_READ, teams.list_invited),
    Route("POST", f"{V0}/team/invite", P.TEAM_WRITE, teams.invite_member),
    Route("GET", f"{V0}/team/roles-full", P.TEAM_READ, teams.list_roles),
    Route("POST", f"{V0}/team/roles", P.TEAM_WRITE, teams.create_role),
    Route("GET", f"{V0}/team/roles/{{role}}", P.TEAM_READ, teams.show_role),
    Route("PUT", f"{V0}/team/roles/{{role}}", P.TEAM_WRITE, teams.change_role),
    Route("DELETE", f"{V0}/team/roles/{{role}}", P.TEAM_WRITE, teams.remove_role),
)

OFFERS: Final = (
    Route("POST", f"{V0}/bundles", P.PUBLIC, offers.search, reads=True, knows_caller=True),
    Route("GET", f"{V0}/asks/{{id}}/bid", P.PUBLIC, bidding.try_bid),
    Route("GET", f"{V0}/machines/{{id}}/clearings", P.PUBLIC, bidding.list_clearings),
    Route("PUT", f"{V0}/search/asks", P.PUBLIC, offers.search_asks, reads=True, knows_caller=True),
    Route("GET", f"{V0}/gpu_names/unique", P.PUBLIC, offers.list_gpu_names),
    Route("GET", f"{V0}/prices", P.PUBLIC, prices.list_prices),
    Route("GET", f"{V0}/prices/history", P.PUBLIC, prices.show_history),
    Route("GET", f"{V0}/prices/depth", P.PUBLIC, prices.show_depth),
    Route("GET", f"{V0}/prices/survival", P.PUBLIC, prices.show_survival),
    Route("GET", f"{V0}/gpu_types", P.PUBLIC, offers.list_gpu_types),
    Route("GET", f"{V0}/benchmarks", P.MISC, later.no_benchmarks),
    Route("GET", f"{V0}/template", P.USER_READ, templates.search),
    Route("POST", f"{V0}/template", P.USER_WRITE, templates.create, refused_in_body=True),
    Route("PUT", f"{V0}/template", P.USER_WRITE, templates.edit),
    Route("PUT", f"{V1}/template", P.USER_WRITE, templates.replace),
    Route("DELETE", f"{V0}/template", P.USER_WRITE, templates.delete, refused_in_body=True),
)

INSTANCES: Final = (
    Route("PUT", f"{V0}/asks/{{id}}", P.INSTANCE_WRITE, creating.rent),
    Route("POST", f"{V0}/asks/bulk", P.INSTANCE_WRITE, creating.rent_many),
    Route(
        "PUT",
        f"{V0}/launch_instance",
        P.INSTANCE_WRITE,
        creating.launch,
        refused_in_body=True,
    ),
    Route("GET", f"{V0}/orders", P.INSTANCE_READ, orders.list_orders),
    Route("POST", f"{V0}/orders", P.INSTANCE_WRITE, orders.place),
    Route("DELETE", f"{V0}/orders/{{id}}", P.INSTANCE_WRITE, orders.cancel),
    Route("GET", f"{V1}/instances", P.INSTANCE_READ, instances.list_page),
    Route("GET", f"{V0}/instances", P.INSTANCE_READ, instances.list_all),
    Route("GET", f"{V0}/instances/filters", P.INSTANCE_READ, instances.list_filters),
    Route("GET", f"{V0}/instances/{{id}}", P.INSTANCE_READ, instances.show, own_instance=True),
    Route("PUT", f"{V0}/instances/{{id}}", P.INSTANCE_WRITE, instances.change, own_instance=True),
    Route(
        "DELETE", f"{V0}/instances/{{id}}", P.INSTANCE_WRITE, instances.destroy, own_instance=True
    ),
    Route("PUT", f"{V0}/instances", P.INSTANCE_WRITE, instances.change_many),
    Route("DELETE", f"{V0}/instances", P.INSTANCE_WRITE, instances.destroy_many),
    Route("PUT", f"{V0}/instances/reboot/{{id}}", P.INSTANCE_WRITE, instances.reboot),
    Route("PUT", f"{V0}/instances/recycle/{{id}}", P.INSTANCE_WRITE, instances.recycle),
    Route("PUT", f"{V0}/instances/bid_price/{{id}}", P.INSTANCE_WRITE, bidding.change_bid),
    Route("PUT", f"{V0}/instances/reschedule/{{id}}", P.INSTANCE_WRITE, bidding.reschedule),
    Route("PUT", f"{V0}/instances/update_template/{{id}}", P.INSTANCE_WRITE, creating.update),
    Route(
        "PUT",
        f"{V0}/instances/request_logs/{{id}}",
        P.INSTANCE_READ,
        outputs.request_logs,
        own_instance=True,
        reads=True,
    ),
    Route("PUT", f"{V0}/instances/command/{{id}}", P.INSTANCE_WRITE, outputs.execute),
    Route("GET", "/r/{token}", P.PUBLIC, outputs.read_output),
    Route("GET", f"{V0}/instances/{{id}}/ssh", P.INSTANCE_READ, instances.list_keys),
    Route("POST", f"{V0}/instances/{{id}}/ssh", P.INSTANCE_WRITE, instances.attach_key),
    Route(
        "DELETE", f"{V0}/instances/{{id}}/ssh/{{key_id}}", P.INSTANCE_WRITE, instances.detach_key
    ),
    Route("GET", f"{V0}/instances/balance/{{id}}", P.INSTANCE_READ, reserving.show_deposit),
    Route("PUT", f"{V0}/instances/prepay/{{id}}", P.INSTANCE_WRITE, reserving.prepay),
    Route(
        "GET",
        f"{V0}/instances/pending-price-increases",
        P.INSTANCE_READ,
        lasting.list_price_increases,
    ),
    Route(
        "PUT",
        f"{V0}/instances/accept-price-increase",
        P.INSTANCE_WRITE,
        lasting.accept_price_increase,
    ),
    Route(
        "PUT",
        f"{V0}/instances/reject-price-increase",
        P.INSTANCE_WRITE,
        lasting.reject_price_increase,
    ),
    Route("GET", f"{V0}/commands/schedule_job", P.INSTANCE_READ, later.no_list),
    Route("GET", f"{V0}/volumes", P.INSTANCE_READ, volumes.list_volumes),
    Route("PUT", f"{V0}/volumes", P.INSTANCE_WRITE, volumes.create),
    Route("DELETE", f"{V0}/volumes", P.INSTANCE_WRITE, volumes.delete),
    Route("POST", f"{V0}/volumes/copy", P.INSTANCE_WRITE, volumes.clone),
    Route("POST", f"{V0}/volumes/search", P.PUBLIC, volumes.search, reads=True),
    Route("POST", f"{V0}/network_volumes/search", P.MISC, later.no_offers, reads=True),
    Route("GET", f"{V0}/instance_backups", P.INSTANCE_READ, later.no_backups),
)

HOSTING: Final = (
    Route("GET", f"{V0}/machines", P.MACHINE_READ, hosting.list_machines),
    Route("GET", f"{V0}/machines/maintenances", P.INSTANCE_READ, lasting.list_maintenances),
    Route("PUT", f"{V0}/machines/{{id}}/dnotify", P.MACHINE_WRITE, lasting.announce_maintenance),
    Route("PUT", f"{V0}/machines/{{id}}/cancel_maint", P.MACHINE_WRITE, lasting.cancel_maintenance),
    Route("GET", f"{V0}/machines/{{id}}", P.MACHINE_READ, hosting.show_machine),
    Route("PUT", f"{V0}/machines/create_asks", P.MACHINE_WRITE, hosting.list_machine),
    Route("DELETE", f"{V0}/machines/{{id}}/asks", P.MACHINE_WRITE, hosting.unlist_machine),
    Route("PUT", f"{V0}/machines/{{id}}/minbid", P.MACHINE_WRITE, hosting.set_min_bid),
    Route("PUT", f"{V0}/machines/create_bids", P.MACHINE_WRITE, background.set_job),
    Route("DELETE", f"{V0}/machines/{{id}}/defjob", P.MACHINE_WRITE, background.remove_job),
    Route("PUT", f"{V0}/machines/{{id}}/cleanup", P.MACHINE_WRITE, hosting.clean_up),
    Route("POST", f"{V0}/machines/{{id}}/force_delete", P.MACHINE_WRITE, hosting.delete_machine),
    Route("GET", f"{V0}/machines/{{id}}/reports", P.MACHINE_READ, hosting.list_reports),
    Route("POST", f"{V0}/volumes", P.INSTANCE_WRITE, volumes.list_on_sale),
    Route("POST", f"{V0}/volumes/unlist", P.MACHINE_WRITE, volumes.unlist),
    Route("POST", f"{V0}/machines/join_tokens", P.MACHINE_WRITE, hosting.create_join_token),
    Route("POST", f"{V0}/machines/join_token", P.MACHINE_WRITE, hosting.create_join_token),
    Route("POST", "/agent/v1/join", P.PUBLIC, hosting.join),
)

MONEY: Final = (
    Route("GET", f"{V0}/charges", P.BILLING_READ, money.list_charges),
    Route("GET", f"{V1}/invoices", P.BILLING_READ, invoices.list_invoices),
    Route("GET", f"{V0}/invoices", P.BILLING_READ, invoices.search_invoices),
    Route("GET", f"{V0}/users/me/invoices", P.BILLING_READ, invoices.list_old_invoices),
    Route("GET", f"{V0}/users/me/machine-earnings", P.BILLING_READ, earnings.show_earnings),
    Route("GET", f"{V0}/payments", P.BILLING_READ, payments.list_payments),
    Route("POST", f"{V0}/payments", P.BILLING_WRITE, payments.pay_in),
    Route("PUT", f"{V0}/payments/payout", P.BILLING_WRITE, payments.set_payout),
    Route("POST", f"{V0}/payments/earnings", P.BILLING_WRITE, payments.use_earnings),
    Route("POST", f"{V0}/payments/notices/{{provider}}", P.PUBLIC, payments.notice),
    Route("GET", f"{V0}/limits", P.BILLING_READ, spending.list_limits),
    Route("POST", f"{V0}/limits", P.BILLING_WRITE, spending.set_limit),
    Route("PUT", f"{V0}/limits/{{id}}", P.BILLING_WRITE, spending.change_limit),
    Route("DELETE", f"{V0}/limits/{{id}}", P.BILLING_WRITE, spending.remove_limit),
    Route("GET", f"{V0}/usage_records", P.BILLING_READ, usage.download_statement),
    Route("GET", f"{V0}/usage_records/key", P.PUBLIC, usage.show_usage_key),
    Route("POST", f"{V0}/contracts/fetch", P.INSTANCE_READ, money.fetch_contracts, reads=True),
    Route(
        "PUT",
        f"{V0}/commands/transfer_credit",
        P.BILLING_WRITE,
        money.transfer_credit,
        refused_in_body=True,
    ),
)

OPERATOR: Final = (
    Route("GET", f"{V0}/admin/accounts", P.OPERATOR, operating.list_accounts),
    Route("POST", f"{V0}/admin/accounts", P.OPERATOR, operating.create_account),
    Route("POST", f"{V0}/admin/accounts/{{id}}/credit", P.OPERATOR, operating.add_credit),
    Route("GET", f"{V0}/admin/payments", P.OPERATOR, payments.list_waiting),
    Route("PUT", f"{V0}/admin/payments/{{id}}", P.OPERATOR, payments.settle),
    Route("POST", f"{V0}/admin/payments/{{id}}/refund", P.OPERATOR, payments.refund),
    Route("GET", f"{V0}/admin/machines", P.OPERATOR, operating.list_machines),
    Route("PUT", f"{V0}/admin/machines/{{id}}/verification", P.OPERATOR, operating.verify),
    Route("GET", f"{V0}/admin/loops", P.OPERATOR, operating.list_loops),
)

HEALTH: Final = (
    Route("GET", "/healthz", P.PUBLIC, health.health),
    Route("GET", "/readyz", P.PUBLIC, health.readiness),
    Route("GET", "/metrics", P.PUBLIC, health.metrics),
    Route("GET", "/openapi.json", P.PUBLIC, health.openapi),
    Route("GET", "/docs", P.PUBLIC, health.documentation),
)

SERVERLESS: Final = (
    Route("GET", f"{V0}/endptjobs", P.MISC, endpoints.list_endpoints),
    Route("POST", f"{V0}/endptjobs", P.MISC, endpoints.create_endpoint),
    Route("GET", f"{V0}/endptjobs/{{id}}", P.MISC, endpoints.show_endpoint),
    Route("PUT", f"{V0}/endptjobs/{{id}}", P.MISC, endpoints.change_endpoint),
    Route("DELETE", f"{V0}/endptjobs/{{id}}", P.MISC, endpoints.delete_endpoint),
    Route("GET", f"{V0}/endptjobs/{{id}}/decisions", P.MISC, recorded.list_decisions),
    Route("GET", f"{V0}/endptjobs/{{id}}/traffic", P.MISC, recorded.show_traffic),
    Route("POST", "/update_workers", P.MISC, rolling.update_workers),
    *(
        Route(method, f"{V0}/{name}{path}", P.MISC, handle, refused_in_body=method == "POST")
        for name in ("autojobs", "workergroups")
        for method, path, handle in (
            ("GET", "", endpoints.list_groups),
            ("POST", "", endpoints.create_group),
            ("PUT", "/{id}", endpoints.change_group),
            ("DELETE", "/{id}", endpoints.delete_group),
        )
    ),
)

DEPLOYMENTS: Final = (
    Route("GET", f"{V0}/deployments", P.INSTANCE_READ, deployments.list_deployments),
    Route("PUT", f"{V0}/deployments", P.INSTANCE_WRITE, deployments.put_deployment),
    Route("DELETE", f"{V0}/deployments", P.INSTANCE_WRITE, deployments.delete_deployments),
    Route("GET", f"{V0}/deployment/{{id}}", P.INSTANCE_READ, deployments.show_deployment),
    Route("DELETE", f"{V0}/deployment/{{id}}", P.INSTANCE_WRITE, deployments.delete_deployment),
    Route("GET", f"{V0}/deployment/{{id}}/versions", P.INSTANCE_READ, deployments.list_versions),
    Route("POST", f"{V0}/deployment/{{id}}/start", P.INSTANCE_WRITE, deployments.start_deployment),
    Route("POST", f"{V0}/deployment/{{id}}/stop", P.INSTANCE_WRITE, deployments.stop_deployment),
    Route("POST", f"{V0}/deployment/{{id}}/heartbeat", P.INSTANCE_WRITE, deployments.beat),
    Route(
        "GET",
        f"{V0}/deployment/{{id}}/download_url",
        P.INSTANCE_READ,
        deployments.download_url,
        own_worker=True,
    ),
    Route("GET", f"{V0}/uploads/{{name}}", P.PUBLIC, uploads.fetch),
    Route("POST", f"{V0}/uploads/{{name}}", P.PUBLIC, uploads.bring, streams=True),
)

NOT_YET_READ: Final = (
    Route("GET", f"{V0}/clusters", P.USER_READ, later.no_clusters),
    Route("GET", f"{V0}/overlay", P.USER_READ, later.no_list),
    Route("GET", f"{V0}/network_disk", P.MACHINE_READ, later.no_data),
)

NOT_YET: Final = tuple(
    _refused(method, f"{V0}/{path}", permission)
    for method, path, permission in (
        ("POST", "commands/schedule_job", P.INSTANCE_WRITE),
        ("PUT", "commands/schedule_job/{id}", P.INSTANCE_WRITE),
        ("DELETE", "commands/schedule_job/{id}", P.INSTANCE_WRITE),
        ("POST", "tfa", P.USER_WRITE),
        ("DELETE", "tfa", P.USER_WRITE),
        ("POST", "tfa/confirm-new", P.USER_WRITE),
        ("POST", "tfa/sms", P.USER_WRITE),
        ("POST", "tfa/sms/resend", P.USER_WRITE),
        ("POST", "tfa/email", P.USER_WRITE),
        ("POST", "tfa/totp-setup", P.USER_WRITE),
        ("PUT", "tfa/update", P.USER_WRITE),
        ("POST", "tfa/authorize-new-method", P.USER_WRITE),
        ("PUT", "tfa/authorize-new-method", P.USER_WRITE),
        ("PUT", "tfa/regen-backup-codes", P.USER_WRITE),
        ("POST", "instances/take_snapshot/{id}", P.INSTANCE_WRITE),
        ("PUT", "network_volumes", P.INSTANCE_WRITE),
        ("POST", "network_volumes", P.INSTANCE_WRITE),
        ("POST", "network_volumes/unlist", P.MACHINE_WRITE),
        ("POST", "network_disk", P.MACHINE_WRITE),
        ("GET", "instance_backups/{id}/download", P.INSTANCE_READ),
        ("PUT", "commands/copy_direct", P.INSTANCE_WRITE),
        ("DELETE", "commands/copy_direct", P.INSTANCE_WRITE),
        ("PUT", "commands/rsync", P.INSTANCE_WRITE),
        ("POST", "commands/rclone", P.INSTANCE_WRITE),
        ("DELETE", "commands/rclone", P.INSTANCE_WRITE),
        ("PUT", "machines/defrag_offers", P.MACHINE_WRITE),
        ("GET", "metrics/gpu/current", P.MACHINE_READ),
        ("GET", "metrics/gpu/history", P.MACHINE_READ),
        ("GET", "metrics/gpu/locations", P.MACHINE_READ),
        ("POST", "cluster", P.USER_WRITE),
        ("PUT", "cluster", P.USER_WRITE),
        ("DELETE", "cluster", P.USER_WRITE),
        ("DELETE", "cluster/remove_machine", P.USER_WRITE),
        ("POST", "overlay", P.USER_WRITE),
        ("PUT", "overlay", P.USER_WRITE),
        ("DELETE", "overlay", P.USER_WRITE),
    )
)

SCOPED: Final = {
    ("GET", "instances/{id}"): "api.instance.show",
    ("PUT", "instances/request_logs/{id}"): "api.instance.request_logs",
    ("GET", "instances/balance/{id}"): "api.instance.balance",
    ("GET", "instances/{id}/ssh"): "api.instance.show_ssh",
    ("PUT", "asks/{id}"): "api.instance.create",
    ("PUT", "instances/{id}"): "api.instance.manage",
    ("DELETE", "instances/{id}"): "api.instance.destroy",
    ("PUT", "instances/reboot/{id}"): "api.instance.reboot",
    ("PUT", "instances/recycle/{id}"): "api.instance.recycle",
    ("PUT", "instances/bid_price/{id}"): "api.instance.bid_price",
    ("PUT", "instances/prepay/{id}"): "api.instance.prepay",
    ("PUT", "instances/command/{id}"): "api.instance.command",
    ("PUT", "instances/update_template/{id}"): "api.instance.update_template",
    ("POST", "instances/{id}/ssh"): "api.instance.attach_ssh",
    ("DELETE", "instances/{id}/ssh/{key_id}"): "api.instance.detach_ssh",
}
"""The routes that a permission file can name, by the names that access.py knows."""

_UNNAMED: Final[tuple[Route, ...]] = (
    *ACCOUNT,
    *TEAMS,
    *OFFERS,
    *INSTANCES,
    *HOSTING,
    *MONEY,
    *OPERATOR,
    *SERVERLESS,
    *DEPLOYMENTS,
    *HEALTH,
    *NOT_YET_READ,
    *NOT_YET,
)

ROUTES: Final = tuple(
    replace(route, scope=SCOPED.get((route.method, route.path.removeprefix(f"{V0}/"))))
    for route in _UNNAMED
)
