"""Which parameters of a definition are templates."""

from __future__ import annotations

import json

from engine.definition.template_marks import templates_in


def test_a_mark_anywhere_inside_makes_the_parameter_a_template() -> None:
    parameters = {
        "plain": "a",
        "value": "{{ ds }}",
        "tag": "{% if x %}y{% endif %}",
        "deep": {"a": [1, {"b": ["x {{ y }}"]}]},
        "key": {"{{ k }}": "v"},
        "brace": "{ { ds } }",
        "comment": "{# c #}",
        "number": 3,
        "nothing": None,
    }
    assert templates_in(parameters) == ["value", "tag", "deep"]
    assert templates_in({}) == []


def test_depth_does_no_harm() -> None:
    assert templates_in({"a": json.loads("[" * 900 + '"{{x}}"' + "]" * 900)}) == ["a"]
