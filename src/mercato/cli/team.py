"""`mercato team`: an account in which people act together, each with the rights of a role."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mercato.cli.command import Argument, Option, Yes, deepened, group
from mercato.cli.keys import permission_file
from mercato.cli.session import Session, print_line, print_table
from mercato.cli.text import money, span
from mercato.cli.tree import speaks

if TYPE_CHECKING:
    from mercato.sdk.team_calls import Member, Role, Teams

app = group("mercato")

TeamId = Annotated[int, Argument(help="The team's id.")]
MemberId = Annotated[int, Argument(help="The member's id.")]
RoleId = Annotated[int, Argument(help="The role's id.")]
Permissions = Annotated[Path, Argument(help='A JSON file such as {"api": {"instance_read": {}}}.')]


@speaks(app, "team")
def teams(session: Session) -> None:
    """The teams in which you are, and those into which you are invited.

    A team is acted in with a key of it: --api-key KEY, MERCATO_API_KEY or mercato login URL KEY.

    Example: mercato team
    """
    from mercato.sdk import team_calls

    now = time.time()  # noqa: TID251 - a person asks how long it is from this moment
    session.give(team_calls.teams(), lambda mine: _show_teams(mine, now))


def _show_teams(mine: "Teams", now: float) -> None:
    print_table(
        ("ID>", "TEAM", "ROLE", "INVITATION ENDS IN>"),
        [
            (each.id, each.team_name, each.role, each.until and span(each.until - now))
            for each in (*mine.teams, *mine.invitations)
        ],
        "You are in no team. Make one: mercato team create NAME",
    )


below = deepened(app, "team")


@speaks(below, "create")
def create(
    session: Session,
    name: Annotated[str, Argument(help="Its name.")],
    credit: Annotated[float, Option("--credit", help="Dollars of yours that it begins with.")] = 0,
) -> None:
    """Make a team of yours, with credit, keys, instances and limits of its own.

    Example: mercato team create research --credit 25
    """
    from mercato.sdk import team_calls

    session.give(
        team_calls.create_team(name, credit=credit),
        lambda made: print_line(f"Team {made.team_id} is made. Your key of it: {made.api_key}"),
    )


@speaks(below, "end")
def end(session: Session, *, yes: Yes = False) -> None:
    """End the key's team, once nothing of it is left; its credit becomes its owner's.

    Example: mercato team end --api-key KEY
    """
    from mercato.sdk import team_calls

    session.confirm("End the team of this key for good?", yes=yes)
    session.give(
        team_calls.end_team(),
        lambda ended: print_line(f"The team is ended; {money(ended.credit)} are yours."),
    )


@speaks(below, "join")
def join(session: Session, team: TeamId) -> None:
    """Accept an invitation.

    Example: mercato team join 7
    """
    from mercato.sdk import team_calls

    session.give(team_calls.join_team(team), print_line)


@speaks(below, "leave")
def leave(session: Session, team: TeamId) -> None:
    """Leave a team, or decline its invitation; your keys of it are out of use at once.

    Example: mercato team leave 7
    """
    from mercato.sdk import team_calls

    session.give(team_calls.leave_team(team), print_line)


@speaks(below, "key")
def key(
    session: Session,
    team: TeamId,
    name: Annotated[str, Option("--name", help="What it is for.")] = "mercato team key",
    permissions: Annotated[
        Path | None,
        Option("--permissions", help='A JSON file such as {"api": {"instance_read": {}}}.'),
    ] = None,
) -> None:
    """Make a key that acts in a team as far as your role reaches; it is shown this once.

    For example:

        mercato team key 7

        mercato team key 7 --name dashboard --permissions readonly.json
    """
    from mercato.sdk import team_calls

    granted = None if permissions is None else permission_file(permissions)
    session.give(
        team_calls.create_team_key(team, name, granted),
        lambda made: print_line(f"Key {made.id}: {made.key}"),
    )


# --- With a key of the team -----------------------------------------------------------------------


@speaks(below, "members")
def members(session: Session) -> None:
    """Who is in the key's team, as what, and what each may spend.

    Example: mercato team members --api-key KEY
    """
    from mercato.sdk import team_calls

    session.give(
        team_calls.members(),
        lambda found: print_table(
            ("ID>", "E-MAIL", "NAME", "ROLE", "LIMITS"),
            [
                (each.id, each.email, each.username, ", ".join(each.roles), _limits(each))
                for each in found
            ],
            "This key acts for your own account. Make a key of a team: mercato team key TEAM",
        ),
    )


def _limits(member: "Member") -> str:
    return ", ".join(
        f"{money(each.spent)} of {money(each.amount)} "
        + ("in total" if each.period == "total" else f"per {each.period}")
        for each in member.limits
    )


@speaks(below, "invitations")
def invitations(session: Session) -> None:
    """Who is invited into the key's team and has not answered yet.

    Example: mercato team invitations --api-key KEY
    """
    from mercato.sdk import team_calls

    now = time.time()  # noqa: TID251 - a person asks how long it is from this moment
    session.give(
        team_calls.invited(),
        lambda found: print_table(
            ("ID>", "E-MAIL", "ROLE", "ENDS IN>"),
            [
                (each.id, each.email, ", ".join(each.roles), span((each.until or now) - now))
                for each in found
            ],
            "Nobody is invited.",
        ),
    )


@speaks(below, "invite")
def invite(
    session: Session,
    email: Annotated[str, Argument(help="The address of their account.")],
    role: Annotated[str, Option("--role", help="What they will be.")] = "member",
) -> None:
    """Invite somebody who has an account here; the invitation stands for four hours.

    Example: mercato team invite ada@example.com --role manager
    """
    from mercato.sdk import team_calls

    session.give(team_calls.invite(email, role), print_line)


@speaks(below, "give")
def give(
    session: Session,
    member: MemberId,
    role: Annotated[str, Argument(help="Their new role; `owner` gives the team away.")],
) -> None:
    """Give a member another role; their keys reach so far from now on.

    Example: mercato team give 12 manager
    """
    from mercato.sdk import team_calls

    session.give(team_calls.give_role(member, role), print_line)


@speaks(below, "rm")
def remove(session: Session, member: MemberId) -> None:
    """Remove a member, whose keys are out of use at once, or withdraw an invitation.

    Example: mercato team rm 12
    """
    from mercato.sdk import team_calls

    session.give(team_calls.remove_member(member), print_line)


@speaks(below, "roles")
def roles(session: Session) -> None:
    """The roles of the key's team, and what each may.

    Example: mercato team roles --api-key KEY
    """
    from mercato.sdk import team_calls

    session.give(
        team_calls.roles(),
        lambda found: _show_roles(
            found, "This key acts for your own account. Make a key of a team: mercato team key TEAM"
        ),
    )


def _show_roles(found: Sequence["Role"], empty: str) -> None:
    print_table(("ID>", "ROLE", "MAY"), [(each.id, each.name, _may(each)) for each in found], empty)


def _may(role: "Role") -> str:
    rights = role.permissions.get("api", {})
    if role.identifier == "owner":
        return "all"
    if role.identifier == "manager":
        return "all but to end the team or give it away"
    told = (
        f"{name} {json.dumps(rules) if rules else ''}".strip() for name, rules in rights.items()
    )
    return ", ".join(sorted(told))


below_roles = deepened(below, "roles")


@speaks(below_roles, "create")
def create_role(
    session: Session,
    name: Annotated[str, Argument(help="Its name.")],
    permissions: Permissions,
) -> None:
    """Give the team a role of its own, which may what a permission file says.

    Example: mercato team roles create viewer readonly.json
    """
    from mercato.sdk import team_calls

    session.give(
        team_calls.create_role(name, permission_file(permissions)),
        lambda made: print_line(f"Role {made.id}, {made.name}, is made."),
    )


@speaks(below_roles, "update")
def change_role(
    session: Session,
    role: RoleId,
    permissions: Annotated[
        Path | None, Option("--permissions", help="A JSON file with what it may from now on.")
    ] = None,
    name: Annotated[str | None, Option("--name", help="Its new name.")] = None,
) -> None:
    """Change a role of the team's own; the keys of who has it reach so far from now on.

    Example: mercato team roles update 4 --permissions wider.json
    """
    from mercato.sdk import team_calls

    granted = None if permissions is None else permission_file(permissions)
    session.give(
        team_calls.change_role(role, name=name, permissions=granted),
        lambda made: print_line(f"Role {made.id}, {made.name}, may: {_may(made)}."),
    )


@speaks(below_roles, "rm")
def remove_role(session: Session, role: RoleId) -> None:
    """Take away a role of the team's own that nobody has.

    Example: mercato team roles rm 4
    """
    from mercato.sdk import team_calls

    session.give(team_calls.remove_role(role), print_line)
