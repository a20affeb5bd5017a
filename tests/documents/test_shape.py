"""Documents as text: what is wrong with them is told with its place; the manual names every field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from engine.documents import text
from engine.documents.shape import After, Document, Phase, Retry, Step
from engine.documents.validating import validate
from engine.errors import BadDocument
from engine.graph.trigger_rules import RULES
from engine.tables import task_edge, task_option, workflow

MANUAL = (Path(__file__).parents[2] / "docs/workflow-files.md").read_text()


@pytest.mark.parametrize("model", [Document, Step, After, Retry, Phase])
def test_the_manual_names_every_field(model: Any) -> None:
    assert [name for name in model.model_fields if f"`{name}`" not in MANUAL] == []


def test_the_manual_s_own_document_is_good() -> None:
    [said] = re.findall(r"```toml\n(.*?)```", MANUAL, re.DOTALL)
    found = validate(said, "toml")
    assert (found.problems, found.document is not None) == ([], True)


def test_every_column_can_be_said() -> None:
    """A new column of a definition needs a word in documents."""
    elsewhere = {"source", "source_format", "changed_ts", "changed_by"}
    phases = {f"{phase}_{part}" for phase in ("pre", "post", "rollback") for part in ("program", "parameters")}
    retry = {"max_attempts", "retry_delay_s", "retry_backoff", "retry_max_delay_s", "retry_jitter"}
    for table, model, others in (
        (workflow, Document, elsewhere),
        (task_option, Step, phases | retry),
        (task_edge, After, {"task_seq", "depends_task_seq"}),
    ):
        columns = {column.name for column in table.c} - {"task_id", "task_seq", *others}
        assert columns - set(model.model_fields) == set()


def test_the_rules_are_those_of_the_engine() -> None:
    [rules] = [one for one in Step.model_json_schema()["properties"]["trigger_rule"]["anyOf"] if "enum" in one]
    assert rules["enum"] == list(RULES)


STEP = "task_id = 'a'\n[[steps]]\nprogram = 'x'\n"
BAD = [
    ("a = \n", "toml", [("", 1)]),
    ("task_id = 'a'\nsteps = 3", "toml", [("steps", 2)]),
    ("task_id = 'a'", "toml", [("steps", None)]),
    ("tsk_id = 'a'\n[[steps]]\nprogram = 'x'", "toml", [("task_id", None), ("tsk_id", 1)]),
    (
        "task_id = 'a'\n[[steps]]\nprogram = 'x'\n[steps.retry]\nmax_atempts = 3",
        "toml",
        [("steps[0].retry.max_atempts", 5)],
    ),
    (STEP + "retry = { jitter = 2 }", "toml", [("steps[0].retry.jitter", 4)]),
    (STEP + "parameters = { d = 2030-01-01 }", "toml", [("steps[0].parameters", 4)]),
    (STEP + "parameters = { d = nan }", "toml", [("steps[0].parameters", 4)]),
    (STEP + "parameters = '[]'", "toml", [("steps[0].parameters", 4)]),
    (
        "task_id = 'a'\n[[steps]]\nprogram = 'x'\nafter = [1.5, {}]",
        "toml",
        [("steps[0].after[0]", 4), ("steps[0].after[1].step", 4)],
    ),
    ("task_id = 'a'\ndescription = '''\n[[steps]]\n'''\n[[steps]]\nprogram = 1", "toml", [("steps[0].program", 6)]),
    ('{"task_id": "a", "task_id": "b"}', "json", [("", None)]),
    ('{"task_id": "a",\n nonsense', "json", [("", 2)]),
    (STEP + f"parameters = {{ a = {'[' * 100}{']' * 100} }}", "toml", [("steps[0].parameters", 4)]),
    (STEP + f"parameters = '{{\"a\": {'[' * 900}{']' * 900}}}'", "toml", [("steps[0].parameters", 4)]),
    ("[]", "json", [("", None)]),
    ("[" * 100_000, "json", [("", None)]),
    (
        '{"task_id": 3, "steps": [{"program": "x", "is_exclusive": 1}]}',
        "json",
        [("task_id", None), ("steps[0].is_exclusive", None)],
    ),
]


@pytest.mark.parametrize(("said", "form", "places"), BAD)
def test_everything_that_is_wrong_has_a_place(said: str, form: str, places: list[Any]) -> None:
    with pytest.raises(BadDocument) as error:
        text.read(said, form)
    assert sorted(one[:2] for one in error.value.found) == sorted(places, key=lambda one: (one[0], one[1] or 0))
    assert validate(said, form).problems == error.value.found


def test_nearest_names_are_those_of_the_same_table() -> None:
    said = {
        "task_id": "a",
        "stps": [],
        "steps": [{"program": "x", "aftr": [], "pre": {"program": "x", "parameter": {}}}],
    }
    with pytest.raises(BadDocument) as error:
        text.check(said)
    found = {one.where: one.words for one in error.value.found}
    assert "did you mean steps?" in found["stps"]
    assert "did you mean after?" in found["steps[0].aftr"]
    assert "did you mean parameters?" in found["steps[0].pre.parameter"]


def test_numbers_are_filled_in() -> None:
    said = {"task_id": "a", "steps": [{"program": "x"}, {"program": "x", "seq": 10}, {"program": "x"}]}
    assert [seq for seq, _ in text.check(said).numbered()] == [1, 10, 11]


def test_what_is_as_deep_as_may_be_can_be_written() -> None:
    value: list[Any] = []
    for _ in range(98):
        value = [value]
    document = text.check({"task_id": "a", "steps": [{"program": "x", "parameters": {"a": value}}]})
    assert text.read(text.as_toml(document), "toml") == text.read(text.as_json(document), "json") == document


def test_toml_that_a_person_would_write() -> None:
    said = {
        "task_id": "a",
        "description": "two\nlines",
        "steps": [
            {
                "program": "x",
                "parameters": {"since": None},
                "timeout_s": 60.0,
                "after": [],
                "rollback": {"program": "y", "parameters": {"a": None}},
            }
        ],
    }
    document = text.check(said)
    written = text.as_toml(document)
    assert "parameters = '{\"since\":null}'" in written
    assert "timeout_s = 60\n" in written
    assert 'description = """two\nlines"""' in written
    assert text.read(written, "toml") == document
