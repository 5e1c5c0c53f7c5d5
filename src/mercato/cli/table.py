"""The commands of the `mercato` program in one table, from which its `--help` is drawn."""

from typing import Final, NamedTuple


class Command(NamedTuple):
    """A row of the table: the module that has it, who it is for, what it does."""

    module: str
    audience: str
    purpose: str


COMMANDS: Final[dict[str, Command]] = {
    "up": Command("up", "start", "a whole market on this machine: server, database, agent, demo"),
    "login": Command("login", "start", "remember a server's address and your key"),
    "offers": Command("offers", "rent", "search for machines to rent"),
    "rent": Command("renting", "rent", "rent an offer"),
    "ps": Command("renting", "rent", "your instances"),
    "show": Command("renting", "rent", "everything about one instance"),
    "start": Command("renting", "rent", "start a stopped instance"),
    "stop": Command("renting", "rent", "stop an instance, keep its disk"),
    "reboot": Command("renting", "rent", "restart an instance's container"),
    "recycle": Command("renting", "rent", "make an instance's container anew from its image"),
    "update": Command("renting", "rent", "have an instance run something else"),
    "label": Command("renting", "rent", "give an instance a name of your own"),
    "rm": Command("renting", "rent", "destroy instances for good"),
    "ssh": Command("inside", "rent", "a shell, or a command, inside an instance"),
    "logs": Command("inside", "rent", "an instance's output"),
    "exec": Command("inside", "rent", "run a command inside and print what it printed"),
    "bid": Command("bidding", "rent", "bid another price for an interruptible instance"),
    "reschedule": Command("bidding", "rent", "let an instance come back on other GPUs"),
    "auction": Command("bidding", "rent", "what a bid would win; who won what, and why"),
    "orders": Command("ordering", "rent", "searches that rent by themselves when an offer matches"),
    "prices": Command("prices", "rent", "what GPUs cost, and how long bids last"),
    "increases": Command("lasting", "rent", "higher prices that hosts ask for contracts to go on"),
    "volumes": Command("volumes", "rent", "disks that outlive the instances that mount them"),
    "template": Command("templates", "rent", "what rentals run, under a name"),
    "endpoint": Command("endpoint", "serve", "addresses that scale from zero, and why they scaled"),
    "worker-group": Command("worker_groups", "serve", "what an endpoint's workers run, and where"),
    "pay": Command("paying", "account", "pay in, automatic top-up, give credit, payouts"),
    "bill": Command("billing", "account", "credit, and what your rentals cost"),
    "limits": Command("limits", "account", "spending limits: what you let yourself spend"),
    "prepay": Command("limits", "account", "reserve an instance: prepay it at a discount"),
    "events": Command("notices", "account", "what happened to you and what is yours, and why"),
    "webhooks": Command("notices", "account", "have your programs told of what happens"),
    "team": Command("team", "account", "act together: an account with members and roles"),
    "key": Command("keys", "account", "your API keys"),
    "ssh-key": Command("keys", "account", "the public keys that open your instances"),
    "variable": Command("variables", "account", "environment variables for all your instances"),
    "join-token": Command("hosting", "host", "a token with which a machine joins as yours"),
    "machines": Command("hosting", "host", "the machines that you host"),
    "list": Command("hosting", "host", "put a machine on sale, or change its prices"),
    "unlist": Command("hosting", "host", "take a machine off sale"),
    "job": Command("hosting", "host", "what a machine runs while nobody rents it"),
    "maintenance": Command("lasting", "host", "when a machine may be down, told to its renters"),
    "earnings": Command("paying", "host", "what your machines earned"),
    "agent": Command("agents", "host", "join this machine to a market, run its agent"),
    "serve": Command("serving", "run", "run the control plane"),
    "database": Command("databases", "run", "psql, pg_dump, pg_restore on the embedded database"),
    "engine": Command("engines", "run", "route requests to serverless workers of your own"),
    "admin": Command("admin", "run", "accounts, credit, payments, machines, loops"),
    "completion": Command("completion", "run", "print the script that completes in your shell"),
}
"""Every command. `mercato --help` is drawn from this table."""

_AUDIENCES: Final = {
    "start": "Begin here",
    "rent": "For renters",
    "serve": "For who serves a model",
    "account": "Money, keys, and what happens",
    "host": "For hosts",
    "run": "For operators",
}

_EXAMPLES: Final = """\
Examples:
  mercato up                                     a market on this machine, with a demonstration
  mercato login http://127.0.0.1:8400 KEY        speak to a server as the owner of KEY
  mercato offers 'gpu_name=RTX_4090 num_gpus>=2' --order dph
  mercato rent 512 --image debian:12 --wait
  mercato ssh 7

Each command has its own --help. Those that speak to a server take --url, --api-key and --raw
(JSON for programs); MERCATO_URL and MERCATO_API_KEY stand in for the first two.
"""


def overview() -> str:
    """What `mercato --help` says."""
    lines = [
        "Mercato: a GPU marketplace that anyone can run.",
        "",
        "Usage: mercato COMMAND ...",
        "",
    ]
    width = max(map(len, COMMANDS))
    for audience, title in _AUDIENCES.items():
        lines.append(f"{title}:")
        lines += [
            f"  {name:<{width}}  {command.purpose}"
            for name, command in COMMANDS.items()
            if command.audience == audience
        ]
        lines.append("")
    return "\n".join(lines) + "\n" + _EXAMPLES
