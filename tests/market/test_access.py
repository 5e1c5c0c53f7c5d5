"""Who may do what: permissions only ever take away."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.market.access import GRANTABLE, SCOPES, Permission, allows, within

NAMES = st.sampled_from(["id", "price", "label"])
VALUES = st.one_of(st.integers(-5, 5), st.floats(), st.sampled_from(["a", "b"]))
ARGUMENTS = st.dictionaries(NAMES, st.one_of(VALUES, st.none(), st.lists(st.integers())))
BOUNDS = st.dictionaries(st.sampled_from(["eq", "gte", "lte", "like"]), VALUES, max_size=2)
RULES = st.dictionaries(
    st.sampled_from(["api.one", "api.two", "api.three"]),
    st.fixed_dictionaries({"constraints": st.dictionaries(NAMES, BOUNDS, max_size=2)}),
    max_size=2,
)
SCOPE = st.sampled_from(["api.one", "api.two", None])
"""Of a route; `api.three` is a name that none has."""
GRANTS = st.dictionaries(st.sampled_from([one.value for one in Permission]), RULES)
NEEDED = st.sampled_from(sorted(set(Permission) - {Permission.PUBLIC, Permission.ANYONE}))


@given(GRANTS, ARGUMENTS)
def test_what_is_public_or_anyones_needs_no_grant(
    granted: dict[str, Any], arguments: dict[str, object]
) -> None:
    assert allows(granted, Permission.PUBLIC, arguments)
    assert allows(granted, Permission.ANYONE, arguments)
    assert allows({}, Permission.ANYONE, arguments)


@given(NEEDED, ARGUMENTS)
def test_a_key_with_no_list_has_all_of_its_accounts_rights(
    needed: Permission, arguments: dict[str, object]
) -> None:
    assert allows(None, needed, arguments)
    assert not allows({}, needed, arguments)
    assert allows({needed.value: {}}, needed, arguments)


@given(GRANTS, NEEDED, ARGUMENTS, SCOPE)
def test_a_grant_is_for_its_own_category(
    granted: dict[str, Any], needed: Permission, arguments: dict[str, object], scope: str | None
) -> None:
    others = {name: rules for name, rules in granted.items() if name != needed.value}
    assert not allows(others, needed, arguments, scope)


@given(RULES, NEEDED, ARGUMENTS, SCOPE)
def test_a_rule_is_for_the_route_that_it_names(
    rules: dict[str, Any], needed: Permission, arguments: dict[str, object], scope: str | None
) -> None:
    named = {needed.value: {"api.three": {}} | rules}
    others = {needed.value: {n: rule for n, rule in named[needed.value].items() if n != scope}}
    assert not allows(others, needed, arguments, scope)
    assert not allows(named, needed, arguments), "a route without a name is in the whole alone"
    alone = {needed.value: {scope: rules[scope]}} if scope in rules else {}
    assert allows(named, needed, arguments, scope) == allows(alone, needed, arguments, scope)
    assert allows({needed.value: {"api.one": {}}}, needed, arguments, "api.one")


def test_a_name_is_of_a_category_that_can_be_given() -> None:
    assert set(SCOPES.values()) <= GRANTABLE


@given(GRANTS, NEEDED, ARGUMENTS, NAMES, BOUNDS, SCOPE)
def test_one_more_constraint_never_lets_more_through(
    granted: dict[str, Any],
    needed: Permission,
    arguments: dict[str, object],
    name: str,
    bound: dict[str, Any],
    scope: str | None,
) -> None:
    rules = granted.get(needed.value) or {"api.one": {"constraints": {}}}
    loose = {needed.value: rules}
    tight = {
        needed.value: {
            route: {"constraints": {name: bound} | rule["constraints"]}
            for route, rule in rules.items()
        }
    }
    assert allows(loose, needed, arguments, scope) or not allows(tight, needed, arguments, scope)


@given(NEEDED, NAMES, BOUNDS)
def test_a_constraint_on_what_the_call_lacks_is_not_met(
    needed: Permission, name: str, bound: dict[str, Any]
) -> None:
    granted = {needed.value: {"api.one": {"constraints": {name: bound}}}}
    assert not allows(granted, needed, {}, "api.one")
    assert not allows(granted, needed, {name: None}, "api.one")
    assert not allows(granted, needed, {name: [1]}, "api.one")


@given(NEEDED, VALUES, VALUES)
def test_bounds_say_what_they_say(needed: Permission, value: Any, limit: Any) -> None:
    def passes(operator: str) -> bool:
        granted = {needed.value: {"api.one": {"constraints": {"id": {operator: limit}}}}}
        return allows(granted, needed, {"id": value}, "api.one")

    numbers = not isinstance(value, str) and not isinstance(limit, str)
    assert passes("eq") == (value == limit)
    assert passes("gte") == (numbers and value >= limit)
    assert passes("lte") == (numbers and value <= limit)
    assert not passes("like"), "an operator that nobody knows lets nothing through"


@pytest.mark.parametrize("permission", Permission)
def test_nobody_can_grant_what_is_not_an_accounts_to_give(permission: Permission) -> None:
    own = {Permission.PUBLIC, Permission.ANYONE, Permission.OPERATOR, Permission.MACHINE}
    assert (permission in GRANTABLE) == (permission not in own)


RIGHTS = st.one_of(st.none(), GRANTS)


@given(RIGHTS, RIGHTS, NEEDED, ARGUMENTS, SCOPE)
def test_what_is_within_lets_nothing_through_that_the_other_does_not(
    granted: dict[str, Any] | None,
    held: dict[str, Any] | None,
    needed: Permission,
    arguments: dict[str, object],
    scope: str | None,
) -> None:
    if within(granted, held) and allows(granted, needed, arguments, scope):
        assert allows(held, needed, arguments, scope)


@given(RIGHTS)
def test_everything_is_within_itself_and_within_all(granted: dict[str, Any] | None) -> None:
    assert within(granted, granted)
    assert within(granted, None)
    assert within({}, granted)
    assert within(None, granted) == (granted is None)
