"""ForEach, Gather, and the checker of plans: pure, without a database."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.growth import plan_checks
from engine.growth.plan_checks import BadPlan, check, leaves_of
from engine.wishes import PlannedTask
from programs.errors import ParameterError
from programs.invoke import invoke
from programs.outcomes import Fail, Finish, Plan, Task
from programs.plans import ForEach, Gather


def test_for_each_plans_one_task_for_each_item(make_call):
    params = {"ITEMS": '[1, "two", null]', "PROGRAM": "work", "PARAMETERS": '{"x": 1, "ITEM": 0}'}
    assert invoke(ForEach(), make_call(params)) == Plan(
        [Task("work", {"x": 1, "ITEM": item}) for item in (1, "two", None)]
    )


def test_for_each_names_the_parameter_of_the_item(make_call):
    planned = invoke(ForEach(), make_call({"ITEMS": [5], "PROGRAM": "work", "ITEM_KEY": "n"}))
    assert planned == Plan([Task("work", {"n": 5})])


def test_for_each_refuses_more_than_its_most_for_good(make_call):
    refused = invoke(ForEach(), make_call({"ITEMS": [1, 2, 3], "PROGRAM": "work", "MAX_ITEMS": 2}))
    assert refused == Fail("ITEMS has 3 items, more than MAX_ITEMS (2)", retry=False)


@pytest.mark.parametrize(
    "bad", [{"ITEMS": "5"}, {"ITEMS": "no"}, {"PROGRAM": ""}, {"PARAMETERS": "[]"}, {"ITEM_KEY": ""}, {"MAX_ITEMS": -1}]
)
def test_for_each_names_the_parameter_that_is_wrong(make_call, bad):
    with pytest.raises(ParameterError, match=f"parameters of ForEach: {next(iter(bad))}"):
        invoke(ForEach(), make_call({"ITEMS": "[]", "PROGRAM": "x", **bad}))


def test_gather_gives_what_came_before(make_call):
    assert invoke(Gather(), make_call(upstream=[3, None, {"a": 1}])) == Finish([3, None, {"a": 1}])


# --- the checker ------------------------------------------------------------------------------------------------------


def test_names_and_places_become_places():
    wish = check(
        [Task("a", {"x": 1}, "one"), Task("b", {}, "two", ("one", 0)), Task("c", after=(1, "one"))], join=False
    )
    assert wish.tasks == (
        PlannedTask("a", '{"x":1}', "one"),
        PlannedTask("b", "{}", "two", (0,)),
        PlannedTask("c", "{}", None, (0, 1)),
    )
    assert wish.join is False
    assert leaves_of(wish) == [2]


def test_a_name_among_the_options_is_a_name():
    wish = check([Task("a", options={"name": "one"}), Task("b", after=("one",), options={"queue": None})])
    assert [(task.name, task.after, task.options) for task in wish.tasks] == [("one", (), {}), (None, (0,), {})]


def test_numbers_get_the_types_of_their_columns():
    options = {"max_attempts": 3.0, "retry_delay_s": 1, "timeout_s": 2, "trigger_rule": "all", "limit_key": "k"}
    [task] = check([Task("a", options=options)]).tasks
    assert task.options == {**options, "max_attempts": 3}
    assert [type(task.options[name]) for name in ("max_attempts", "retry_delay_s", "timeout_s")] == [int, float, float]


def test_an_empty_plan_is_one():
    assert check([]).tasks == ()


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError


PROBLEMS = [
    ([Task("a", name="x"), Task("a", name="x")], "task 1 ('x') of the plan: task 0 of the plan has the same name"),
    ([Task("a", after=("x",))], "task 0 of the plan: comes after 'x', and no task of the plan has that name"),
    ([Task("a", after=(1,))], "task 0 of the plan: comes after place 1, and the places are 0 .. 0"),
    ([Task("a", after=(-1,))], "task 0 of the plan: comes after place -1"),
    ([Task("a", after=(True,))], "task 0 of the plan: comes after True, which is neither a name nor a place"),
    ([Task("a", after=(10**5000,))], "task 0 of the plan: comes after place <int>, and the places"),
    ([Task("a", after="b")], "task 0 of the plan: its `after` is 'b', not a list"),
    ([Task("a", after=(0,))], "the plan goes in a circle: 0 -> 0"),
    ([Task("a", after=(1,)), Task("b", name="b", after=(0,))], "the plan goes in a circle: "),
    ([Task("")], "task 0 of the plan: program must have 1 to 256 characters, has 0"),
    ([Task("x" * 257)], "task 0 of the plan: program must have 1 to 256 characters, has 257"),
    ([Task("a\x00")], "task 0 of the plan: program holds a character that no database can store"),
    ([Task("a\ud800")], "task 0 of the plan: program holds a character that no database can store"),
    ([Task(None)], "task 0 of the plan: program is None, not a text"),
    ([Task("a", name="")], "task 0 ('') of the plan: name must have 1 to 128"),
    ([Task("a", name=7)], "task 0 of the plan: name is 7, not a text"),
    ([Task("a", name="x", options={"name": "y"})], "task 0 ('x') of the plan: its options give it another name: 'y'"),
    ([Task("a", [1])], "task 0 of the plan: its parameters are a list, not a mapping"),
    ([Task("a", {1: 2})], "task 0 of the plan: its parameters have the name 1, which is no text"),
    ([Task("a", {"x": float("nan")})], "task 0 of the plan: what its parameters hold is not JSON"),
    ([Task("a", {"x": "y" * 2**20})], "task 0 of the plan: what its parameters hold is 1,048,584 bytes"),
    ([Task("a", priority=20)], "task 0 of the plan: priority 20 is no whole number -20 .. 19"),
    ([Task("a", priority=True)], "task 0 of the plan: priority True"),
    ([Task("a", priority=1.0)], "task 0 of the plan: priority 1.0"),
    ([Task("a", options=[])], "task 0 of the plan: its options are a list, not a mapping"),
    ([Task("a", options={"quue": "x"})], "task 0 of the plan: has the option 'quue'; there are queue, max_attempts"),
    ([Task("a", options={"queue": ""})], "task 0 of the plan: queue must have 1 to 64"),
    ([Task("a", options={"max_attempts": 0})], "task 0 of the plan: max_attempts 0 is less than 1"),
    ([Task("a", options={"max_attempts": 1.5})], "task 0 of the plan: max_attempts 1.5 is no whole number"),
    ([Task("a", options={"max_attempts": 2**31})], "task 0 of the plan: max_attempts is more than 2,147,483,647"),
    ([Task("a", options={"retry_jitter": 2})], "task 0 of the plan: retry_jitter 2 is more than 1"),
    ([Task("a", options={"retry_delay_s": 10**400})], "task 0 of the plan: retry_delay_s is beyond the range"),
    ([Task("a", options={"timeout_s": 0})], "task 0 of the plan: timeout_s 0 is no number of seconds above 0"),
    ([Task("a", options={"timeout_s": "5"})], "task 0 of the plan: timeout_s '5'"),
    ([Task("a", options={"timeout_s": 10**400})], "task 0 of the plan: timeout_s is beyond the range"),
    ([Task("a", options={"trigger_rule": "most"})], "task 0 of the plan: trigger_rule 'most' is none of all, "),
    ([Task("a", options={"trigger_rule": []})], "task 0 of the plan: trigger_rule [] is none of"),
    ([Task("a", options={"trigger_rule": "any"})], "task 0 of the plan: trigger_rule 'any' needs predecessors"),
    ([Task("a", options={"limit_key": Unshowable()})], "task 0 of the plan: limit_key is <Unshowable>, not a text"),
    ([Task("a", options={Unshowable(): 1})], "task 0 of the plan: has the option <Unshowable>"),
    ([Task("a"), {"program": "a"}], "the plan: task 1 is a dict, not a Task"),
    ([Task("a"), None], "the plan: task 1 is a NoneType, not a Task"),
    ("tasks", "the plan: its tasks are a str, not a list of Task"),
    (None, "the plan: its tasks are a NoneType, not a list of Task"),
    ({"a": 1}, "the plan: its tasks are a dict, not a list of Task"),
]  # fmt: skip


@pytest.mark.parametrize("tasks, words", PROBLEMS, ids=lambda part: part if isinstance(part, str) else "")
def test_a_bad_plan_is_named(tasks: Any, words: str) -> None:
    with pytest.raises(BadPlan) as caught:
        check(tasks)
    assert str(caught.value).startswith(words)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("count, fits", [(100_000, True), (100_001, False)])
def test_a_plan_has_at_most_a_hundred_thousand_tasks(count: int, fits: bool) -> None:
    tasks = [Task("a")] * count
    if fits:
        assert len(check(tasks).tasks) == count
    else:
        with pytest.raises(BadPlan, match="the plan has 100,001 tasks, more than the 100,000"):
            check(tasks)


def test_a_chain_of_a_hundred_thousand_is_checked_without_recursion() -> None:
    chain = [Task("a", after=(place - 1,) if place else ()) for place in range(100_000)]
    assert leaves_of(check(chain)) == [99_999]
    with pytest.raises(BadPlan, match=r"goes in a circle: .* -> \.\.\.$"):
        check([Task("a", after=((place - 1) % 100_000,)) for place in range(100_000)])


def test_all_parameters_together_have_a_limit() -> None:
    with pytest.raises(
        BadPlan, match=r"task 67 of the plan: with it the parameters of the plan are more than 67,108,864"
    ):
        check([Task("a", {"x": "y" * 1_000_000})] * 70)


def test_all_predecessors_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_checks, "MAX_EDGES", 5)
    tasks = [Task("a"), Task("a"), Task("a", after=(0, 1)), Task("a", after=(0, 1, 2))]
    assert len(check(tasks).tasks) == 4
    with pytest.raises(BadPlan, match="task 4 of the plan: with it the plan names more than 5 predecessors"):
        check([*tasks, Task("a", after=(0,))])


@st.composite
def plans(draw: st.DrawFn) -> list[Task]:
    """Any plan over a few tasks: names may repeat, predecessors may not exist or go round."""
    count = draw(st.integers(0, 7))
    names = st.sampled_from([None, None, "a", "b", "c", "d", "e", "f"])
    befores = st.lists(st.one_of(st.integers(-1, 8), st.sampled_from("abcdef")), max_size=3)
    return [Task("p", {"n": place}, draw(names), draw(befores)) for place in range(count)]


def verdict_of(tasks: list[Task]) -> str:
    """The rules, told once more and differently: "fine", or the first rule that is broken."""
    names = [task.name for task in tasks if task.name is not None]
    if len(set(names)) < len(names):
        return "same name"
    by_name = {task.name: place for place, task in enumerate(tasks) if task.name is not None}
    before: dict[int, set[int]] = {}
    for place, task in enumerate(tasks):
        for earlier in task.after:
            if isinstance(earlier, str) and earlier not in by_name:
                return "comes after"
            number = by_name[earlier] if isinstance(earlier, str) else earlier
            if not 0 <= number < len(tasks):
                return "comes after"
            before.setdefault(place, set()).add(number)
    done: set[int] = set()
    while free := [n for n in range(len(tasks)) if n not in done and before.get(n, set()) <= done]:
        done.update(free)
    return "fine" if len(done) == len(tasks) else "circle"


@given(plans())
@settings(max_examples=500, deadline=None)
def test_the_checker_takes_what_can_run_and_nothing_else(tasks: list[Task]) -> None:
    expected = verdict_of(tasks)
    if expected != "fine":
        with pytest.raises(BadPlan, match=expected):
            check(tasks)
        return
    wish = check(tasks)
    by_name = {task.name: place for place, task in enumerate(tasks)}
    for task, planned in zip(tasks, wish.tasks, strict=True):
        places = {by_name[earlier] if isinstance(earlier, str) else earlier for earlier in task.after}
        assert set(planned.after) == places
        assert list(planned.after) == sorted(places)
        assert json.loads(planned.parameters) == task.parameters
    followed = {earlier for planned in wish.tasks for earlier in planned.after}
    assert set(leaves_of(wish)) == set(range(len(tasks))) - followed
    assert not tasks or leaves_of(wish), "what can run has an end"
