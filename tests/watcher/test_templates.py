"""Templates in parameters: what they render to, what they refuse, and that none of them harms the watcher."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from factories import claim as claim_ready
from factories import define, finish, insert_task, sql, start, task
from sqlalchemy import update
from waiting import finished, settled
from watching import Watch

from engine.claimed import ClaimedTask
from engine.database import Database
from engine.keys import Key
from engine.preparing.refusals import Refused
from engine.preparing.template_filters import FILTERS, TESTS
from engine.preparing.template_language import MAX_SOURCE
from engine.preparing.templates import check, rendered
from engine.tables import task_stat
from penstock import program

pytestmark = pytest.mark.by_turns

FLOW = {"id": "f1", "task_id": "load", "run_key": "2024-03-31", "registered_ts": "2024-05-05T01:02:03+00:00"}
PARAMS: dict[str, Any] = {
    "n": 3,
    "text": "x",
    "list": [3, 1, 2],
    "rows": [{"id": 1, "ok": True}, {"id": 2, "ok": False}],
    "none": None,
    "items": "a key like any other",
    "long": "a" * 1_000_000,
    "numbers": [0] * 300_000,
}


class Shelf:
    """A reader over given parts, which notes what was asked for."""

    def __init__(self, **flow: Any) -> None:
        self.asked: list[tuple[str, ...]] = []
        self._parts = {"flow": {**FLOW, **flow}, "results": {"load": {"rows": 7}, "1": {"rows": 7}}}

    def scope(self, flow_id: str, names: Any) -> dict[str, Any]:
        assert flow_id == "f1"
        self.asked.append(tuple(names))
        return {name: self._parts[name] for name in names}


def claimed(**columns: Any) -> ClaimedTask:
    row = {"program": "p", "parameters": "{}", "flow_parameters": None, "claim_no": 1, "attempt": 2, "name": "extract"}
    return ClaimedTask(Key("f1", 4), "claim", "load", 2, **{**row, "templates": '["p"]', **columns})


def render(value: Any, shelf: Shelf | None = None) -> Any:
    return rendered(claimed(), {"p": value}, PARAMS, shelf or Shelf())["p"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "template, value",
    [
        ("{{ params.n }}", 3),
        ("{{ params.list }}", [3, 1, 2]),
        ("{{ params.none }}", None),
        ("{{ params.rows[0].ok }}", True),
        ("{{ {'a': [1, 2.5, none, true]} }}", {"a": [1, 2.5, None, True]}),
        ("{{ params.n > 2 }}", True),
        ("n={{ params.n }}", "n=3"),
        (" {{ params.n }}", " 3"),
        ("{{ params.n }}{{ params.n }}", "33"),
        ("<{{ params.none }}|{{ params.list }}|{{ true }}|{{ 1.5 }}>", "<|[3,1,2]|true|1.5>"),
        ("{{ params.items }}", "a key like any other"),
        ("{{ params.rows | map(attribute='id') | list }}", [1, 2]),
        ("{{ params.rows | selectattr('ok') | map(attribute='id') | join(',') }}", "1"),
        ("{{ params.list | sort | join('-') }}", "1-2-3"),
        ("{{ params.list | sum + params.list | length }}", 9),
        ("{{ params.missing | default('d') }}", "d"),
        ("{{ params.missing is defined }}", False),
        ("{{ params.list[1:] }}", [1, 2]),
        ("{{ params.list[-1] }}", 2),
        ("{{ 2 ** 10 // 3 % 7 * -1 + 0.5 }}", -4.5),
        ("{{ 'a' ~ 1 ~ none }}", "a1"),
        ("{% for x in params.list %}{{ loop.index }}:{{ x }}{{ '' if loop.last else ',' }}{% endfor %}", "1:3,2:1,3:2"),
        ("{% for k, v in params.rows[0] | items %}{{ k }}={{ v }};{% endfor %}", "id=1;ok=true;"),
        ("{% set x = params.n + 1 %}{% if x > 3 %}big{% else %}small{% endif %}", "big"),
        ("{% for a in range(2) %}{% for b in range(a, 3) %}{{ b }}{% endfor %};{% endfor %}", "012;12;"),
        ("{{ params.list | max }}{{ params.list | first }}{{ params.list | last }}{{ -5 | abs }}", "3325"),
        ("{{ params.list | unique | list }}{{ 'a b' | title | upper | split(' ') }}", '[3,1,2]["A","B"]'),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        ("a\n{# comment #}b\n", "a\nb\n"),
        ("{{ results.load.rows }}", 7),
        ("{{ results['1'].rows }}", 7),
        ("{{ flow.id }} {{ run_key }}", "f1 2024-03-31"),
        ("{{ task }}", {"task_id": "load", "task_seq": 2, "exec_seq": 4, "name": "extract", "attempt": 2}),
        ("{{ date }}", "2024-03-31"),
        ("{{ ds }} {{ ds_nodash }} {{ yesterday_ds }} {{ tomorrow_ds }}", "2024-03-31 20240331 2024-03-30 2024-04-01"),
        ("{{ date | minus(months=1) }}", "2024-02-29"),
        ("{{ date | plus(months=1) | strftime('%d.%m.%Y') }}", "30.04.2024"),
        ("{{ date | plus(years=1, months=-13, days=1) }}", "2024-03-01"),
        ("{{ date.year * 100 + date.month }}", 202403),
        ("{{ '2024-02-29' | plus(years=1) }}", "2025-02-28"),
        ("grüße 🎉 {{ '{{ params.n }}' }}", "grüße 🎉 {{ params.n }}"),
        ("no marks", "no marks"),
        (7, 7),
        ({"{{ key }}": ["{{ params.n }}", {"a": "{{ ds }}!"}, 5]}, {"{{ key }}": [3, {"a": "2024-03-31!"}, 5]}),
    ],
)
def test_a_template_renders(template: Any, value: Any) -> None:
    found = render(template)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "run_key, date, ds",
    [
        ("2024-02-29", "2024-02-29", "2024-02-29"),
        ("2024-02-29T23:30:00+02:00", "2024-02-29T23:30:00+02:00", "2024-02-29"),
        ("2024-02-30", "2024-05-05", "2024-05-05"),
        ("20240229", "2024-05-05", "2024-05-05"),
        ("order-7", "2024-05-05", "2024-05-05"),
        (None, "2024-05-05", "2024-05-05"),
    ],
)
def test_the_date_is_that_of_the_run_key_or_of_the_registration(run_key: str | None, date: str, ds: str) -> None:
    assert render("{{ date }} {{ ds }}", Shelf(run_key=run_key)) == f"{date} {ds}"


def test_a_flow_without_a_date_has_none() -> None:
    with pytest.raises(Refused, match="there is no 'ds'"):
        render("{{ ds }}", Shelf(run_key=None, registered_ts=None))
    assert render("{{ ds }}", Shelf(run_key="0001-01-01")) == "0001-01-01"
    with pytest.raises(Refused, match="there is no 'yesterday_ds'"):
        render("{{ yesterday_ds }}", Shelf(run_key="0001-01-01"))


def test_only_what_is_named_is_read_and_once() -> None:
    shelf = Shelf()
    render(["{{ params.n }}", "{{ task.name }}", "an update of results"], shelf)
    assert shelf.asked == []
    render(["{{ ds }}", "{{ flow.id }}", "{{ results.load.rows }}", "{{ date }}{{ results.load }}"], shelf)
    assert sorted(shelf.asked) == [("flow",), ("results",)]


def test_what_is_rendered_is_not_rendered_again() -> None:
    hostile = {"inner": "{{ params.n }}"}
    task = claimed()
    assert rendered(task, {"p": "{{ params.inner }}"}, hostile, Shelf()) == {"p": "{{ params.n }}"}  # type: ignore[arg-type]


def test_only_the_marked_parameters_are_templates() -> None:
    parameters = {"p": "{{ params.n }}", "given": "{{ params.n }}"}
    shelf: Any = Shelf()
    assert rendered(claimed(), parameters, PARAMS, shelf) == {"p": 3, "given": "{{ params.n }}"}
    assert rendered(claimed(templates=None), parameters, PARAMS, shelf) is parameters
    assert rendered(claimed(templates='["gone", "p", "p"]'), parameters, PARAMS, shelf)["p"] == 3


@pytest.mark.parametrize("templates", ["{", "{}", "[1]", "3", '"p"'])
def test_a_broken_list_of_templates_is_refused(templates: str) -> None:
    with pytest.raises(Refused, match="templates"):
        rendered(claimed(templates=templates), {"p": "x"}, {}, Shelf())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "template, words",
    [
        ("a\nb {{ params.nope }}", "parameter 'p', line 2: there is no 'nope' in this object; there are n, text, list"),
        ("{{ params.nope }}", "line 1: there is no 'nope'"),
        ("{{ params.nope.deeper }}", "there is no 'nope'"),
        ("{{ params.text.nope }}", "there is no 'nope' in a text"),
        ("{{ params.none.nope }}", "there is no 'nope' in null"),
        ("{{ params.list[7] }}", "there is no 7 in this list"),
        ("x\n\n{{ nope }}", "line 3: there is no 'nope'; there are date, ds,"),
        ("{{ params.n +", "line 1: unexpected 'end of template'"),
        ("{% if params.n %}", "line 1: Unexpected end of template"),
        ("{{ params.n | shout }}", "there is no filter 'shout'; there are abs,"),
        ("{{ params.n is tall }}", "there is no test 'tall'"),
        ("{{ params.n / 0 }}", "divides by zero"),
        ("{{ params.text + 1 }}", "cannot add a number to a text; texts are joined with ~"),
        ("{{ params.n if false }}", "no else"),
        ("{{ params.n == params.nope }}", "there is no 'nope'"),
        ("{% for x in params.n %}{% endfor %}", "cannot loop over a number"),
        ("{{ date | plus(moons=1) }}", "a date has no 'moons'; there are days,"),
        ("{{ date | plus(years=9000) }}", "year"),
        ("{{ params.text | plus(days=1) }}", "this takes a date, not a text"),
        ("{{ date | strftime('%Q') }}", "does not take the format"),
    ],
)
def test_what_is_wrong_is_said_with_parameter_and_line(template: str, words: str) -> None:
    with pytest.raises(Refused) as error:
        render(template)
    assert words in error.value.words
    assert error.value.words.startswith("parameter 'p', line ")


HOSTILE = [
    "{{ ''.__class__.__mro__ }}",
    "{{ ''['__class__'] }}",
    "{{ params.__class__ }}",
    "{{ params.list.append(1) }}",
    "{{ params | attr('__class__') }}",
    "{{ params.rows | map(attribute='__class__') | list }}",
    "{{ params.rows | map('attr', '__class__') | list }}",
    "{{ params.rows | sort(attribute='__class__.__mro__') }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ lipsum.__globals__ }}",
    "{{ cycler.__init__ }}",
    "{{ namespace(a=1) }}",
    "{{ range.__class__ }}",
    "{{ date.__class__ }}",
    "{{ date.strftime('%Y') }}",
    "{{ date.max }}",
    "{% for x in [1] %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "{% for x in [1] %}{{ loop._iterator }}{% endfor %}",
    "{% for x in [1] %}{{ loop.cycle('a') }}{% endfor %}",
    "{% for x in [[1]] recursive %}{{ loop(x) }}{% endfor %}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '%s' % params }}",
    "{{ '%1000000000s' | format(1) }}",
    "{{ 'a' * 1000000000 }}",
    "{{ [0] * 1000000000 }}",
    "{{ 10 ** 1000000000 }}",
    "{{ 9 ** 9 ** 9 ** 9 ** 9 }}",
    "{{ 'a' | center(1000000000) }}",
    "{{ 'a' | indent(1000000000) }}",
    "{{ 'a'.ljust(1000000000) }}",
    "{{ date | strftime('%1000000000d') }}",
    "{{ 1.5 | round(1000000000, 'ceil') }}",
    "{{ range(1000000000) }}",
    "{{ range(0, 5000, 0) }}",
    "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
    "{% for a in [1] %}{% for b in [1] %}{% for c in [1] %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in range(5000) %}{{ params.long | length }}{% endfor %}",
    "{% for a in range(5000) %}{{ params.long == params.long ~ 'b' }}{% endfor %}",
    "{% for a in range(5000) %}{{ params.numbers[1:] | length }}{% endfor %}",
    "{% for a in range(5000) %}{{ 5 in params.numbers }}{% endfor %}",
    "{% for a in range(5000) %}{{ params.numbers | sort | first }}{% endfor %}",
    "{{ params.long }}{{ params.long }}",
    "{{ params.long ~ params.long }}",
    "{{ params.long + params.long }}",
    "{{ params.long | replace('a', params.long) }}",
    "{{ params.numbers | join(params.long) }}",
    "{{ params.numbers | map('join', params.long) | list }}",
    "{% set a = params.long %}" + "{% set a = a ~ a %}" * 50,
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 100 + "{{ a }}",
    "{% set a = [1] %}" + "{% set a = a + a %}" * 100 + "{{ a | length }}",
    "{% set a = ' ' %}" + "{% set a = a | urlencode ~ a %}" * 100 + "{{ a | length }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% from 'os' import path %}",
    "{% extends '/etc/passwd' %}",
    "{% block a %}{{ self.a() }}{% endblock %}",
    "{% call range() %}{% endcall %}",
    "{% filter upper %}a{% endfilter %}",
    "{% set ns.x = 1 %}",
    "{% set a %}b{% endset %}",
    "{{ range(*params.numbers) }}",
    "{{ _budget }}",
    "{{ params.n | _weighed }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "[" * 200 + "]" * 200 + " }}",
    "{{ " + "-" * 20000 + "1 }}",
    "{{ " + "not " * 5000 + "1 }}",
    "{{ 1" + "+1" * 20000 + " }}",
    "{{ " + "9" * 20000 + " }}",
    "{{ 1e999 }}",
    "{{ params" + ".a" * 20000 + " }}",
    "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "{% if 1 %}{% elif 2 %}" + "{% elif 3 %}" * 4000 + "{% endif %}",
    "{{ (-8) ** 0.5 }}",
    "{" * 60_000 + "{",
    "{{ '" + "\\" * 60_000,
    "x" * MAX_SOURCE + "{{ 1 }}",
    ["{{ 1 }}"] * 1_001,
]


@pytest.mark.parametrize("template", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_template_ends_in_a_clear_error_quickly(template: Any) -> None:
    begun = time.monotonic()
    with pytest.raises(Refused) as error:
        render(template)
    assert time.monotonic() - begun < 10  # about a second at most on an idle machine
    words = error.value.words
    assert error.value.reason == "bad parameters"
    assert len(words) < 1_200
    assert words.startswith(("parameter 'p'", "the templates have "))
    for leak in ("<class", "<function", "<built-in", "object at 0x", "site-packages", "root:"):
        assert leak not in words


@pytest.mark.parametrize(
    "template, words",
    [
        ("{% for a in range(9000) %}{% for b in range(9000) %}{% endfor %}{% endfor %}", "more than 100,000 times"),
        ("{% for a in range(5000) %}{{ params.long | length }}{% endfor %}", "more than 3,000,000 steps"),
        ("{% for a in range(5000) %}{{ params.long == 'b' }}{% endfor %}", "more than 3,000,000 steps"),
        ("{{ params.long ~ params.long }}", "a text of 2,000,000 characters, at most 1,048,576"),
        ("{% for a in [1, 2] %}{{ params.long }}{% endfor %}", "a text of 2,000,000 characters, at most 1,048,576"),
        ("{{ range(10001) }}", "more than 10,000 numbers"),
        ("{{ range(stop=3) }}", "one to three whole numbers"),
        ("{{ 2 ** 5000 }}", "a number that is too large"),
        ("{{ " + "9" * 20000 + " }}", "too many digits"),
        ("{{ 1e999 }}", "a number is too large"),
        ("{{ 1" + "+1" * 2000 + " }}", "too deeply nested"),
        ("{{ params.n | round(1, 2, 3, 4) }}", "'round' does not take what it is given: a number, a number"),
        ("{{ params.n | sort }}", "'sort' does not take what it is given: a number"),
        ("{{ params.rows | map('attr', 'x') | list }}", "No filter named 'attr'"),
        ("{% filter upper %}a{% endfilter %}", "{% filter %} is not for templates"),
    ],
)
def test_a_limit_says_which_it_is(template: str, words: str) -> None:
    with pytest.raises(Refused) as error:
        render(template)
    assert words in error.value.words


def test_a_compile_check_needs_no_data_and_names_every_problem() -> None:
    parameters = {
        "good": ["{{ params.whatever.it.is }}", "{{ results.load | default(1) }}", "plain"],
        "open": "{{ ds",
        "name": {"deep": ["\n{{ nope }}"]},
        "tag": "{% include 'x' %}",
        "filter": "{{ ds | shout }}",
        "not asked": "{{ nope",
    }
    assert check(parameters, ["good", "gone"]) == []
    problems = check(parameters, ["good", "open", "name", "tag", "filter"])
    assert len(problems) == 4
    for problem, words in zip(
        problems,
        (
            "parameter 'open', line 1: unexpected end of template",
            "parameter 'name', line 2: there is no 'nope'; there are date",
            "parameter 'tag', line 1: {% include %} is not for templates",
            "parameter 'filter', line 1: there is no filter 'shout'",
        ),
        strict=True,
    ):
        assert problem.startswith(words)


def test_the_document_lists_the_filters_and_tests_that_there_are() -> None:
    text = (Path(__file__).parents[2] / "docs" / "templates.md").read_text()
    filters, tests = re.findall(r"(?s)(?:Filters|\nTests): (.*?)(?:\.|, and comparisons)", text)
    assert set(re.split(r",\s+", filters)) == set(FILTERS)
    comparisons = {name for name in TESTS if name.startswith(("eq", "ne", "l", "g")) or not name.isalpha()}
    assert set(re.split(r",\s+", tests)) == set(TESTS) - comparisons


@program
def echoes(a: Any = None, b: Any = None) -> Any:
    return {"a": a, "b": b}


def marked(db: Database, key: tuple[str, int], parameters: dict[str, Any], *names: str) -> None:
    """As a registration writes the row of a definition with templates."""
    row = task_stat.c.task_flow_id == key[0], task_stat.c.task_exec_seq == key[1]
    values = {"parameters": json.dumps(parameters), "templates": json.dumps(names)}
    with db.transaction() as conn:
        conn.execute(update(task_stat).where(*row).values(**values))


def test_a_watcher_renders_what_the_definition_marked(db: Database, watch: Watch) -> None:
    define(db, "load", steps=2, program="echoes")
    flow_id = start(db, "load", parameters={"name": "{{ ds }}"}, run_key="2024-03-31")
    first = {"a": "{{ params.name }} of {{ date | minus(months=1) }}", "b": "{{ task.task_seq }}"}
    marked(db, (flow_id, 1), first, "a")
    marked(db, (flow_id, 2), {"a": {"deep": ["{{ results['1'].a }}"]}, "b": "{{ flow.id }}"}, "a", "b")
    watch(echoes)
    finished(db, flow_id)
    assert json.loads(task(db, (flow_id, 1)).result) == {
        "a": "{{ ds }} of 2024-02-29",  # what the registration gave stays as it is
        "b": "{{ task.task_seq }}",
    }
    assert json.loads(task(db, (flow_id, 2)).result) == {"a": {"deep": ["{{ ds }} of 2024-02-29"]}, "b": flow_id}


def test_a_bad_template_suspends_its_own_task_and_nothing_else(db: Database, watch: Watch) -> None:
    columns = {"program": "echoes", "templates": '["a"]'}
    insert_task(db, "bad", parameters=json.dumps({"a": "x\n{{ params.nope }}"}), **columns)
    insert_task(db, "hostile", parameters=json.dumps({"a": "{{ ''.__class__.__mro__ }}"}), **columns)
    insert_task(db, "broken", parameters="{}", program="echoes", templates='{"a"')
    insert_task(db, "good", parameters=json.dumps({"a": "{{ task.name }}{{ flow.id }}"}), **columns)
    watching = watch(echoes)
    settled(db, *((name, 1) for name in ("bad", "hostile", "broken", "good")))
    found = {name: task(db, (name, 1)) for name in ("bad", "hostile", "broken", "good")}
    assert {name: (row.exec_status, row.reason) for name, row in found.items()} == {
        "bad": (2, "bad parameters"),
        "hostile": (2, "bad parameters"),
        "broken": (2, "bad parameters"),
        "good": (3, None),
    }
    assert found["bad"].error.startswith("parameter 'a', line 2: there is no 'nope'")
    assert "templates" in found["broken"].error
    assert json.loads(found["good"].result)["a"] == "good"
    sql(db, "UPDATE kr_task_stat SET parameters = :p, exec_status = 0 WHERE task_flow_id = 'bad'", p='{"a": "{{ 1 }}"}')
    settled(db, ("bad", 1))
    assert json.loads(task(db, ("bad", 1)).result)["a"] == 1
    assert watching.lives


def test_claimed_tasks_know_their_name_and_templates(db: Database) -> None:
    insert_task(db, "f", name="extract", templates='["a"]', input_mapping="{}", output_mapping='{"x": "1"}')
    sql(db, "UPDATE kr_task_stat SET wait_count = 0, program = 'Noop'")
    (claimed_task,) = claim_ready(db)
    assert (claimed_task.name, claimed_task.templates) == ("extract", '["a"]')
    assert (claimed_task.input_mapping, claimed_task.output_mapping) == ("{}", '{"x": "1"}')
    finish(db, claimed_task)
