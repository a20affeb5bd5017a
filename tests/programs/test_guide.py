"""The examples of docs/writing-a-program.md run as they stand there."""

import re
import tomllib
from pathlib import Path

from programs.catalogue import build_catalogue
from programs.invoke import invoke
from programs.outcomes import Again, Finish

GUIDE = Path(__file__).parents[2] / "docs" / "writing-a-program.md"


def blocks(language: str) -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE))


def test_the_examples_make_a_plugin(make_call, tmp_path):
    names: dict = {"__name__": "guide"}
    exec(compile(blocks("python"), str(GUIDE), "exec"), names)  # noqa: S102 - the page is ours
    hook = type("Plugin", (), {"penstock_programs": staticmethod(names["penstock_programs"])})()
    names["copy_table"].name = "CopyTableByFunction"  # the guide shows one program twice, as function and as class
    catalogue = build_catalogue(extra=[hook, names["CopyTable"]()], autoload=False)

    assert catalogue["CopyTable"].schema["required"] == ["SOURCE", "TARGET"]
    call = make_call({"SOURCE": "a", "TARGET": "b", "BATCH": "5"})
    for name in ("CopyTable", "CopyTableByFunction"):
        assert invoke(catalogue[name].program, call) == Finish({"rows": 42})
    wait = catalogue["WaitForFile"].program
    assert invoke(wait, make_call({"PATH": str(tmp_path / "x")})) == Again(after=60)
    assert invoke(wait, make_call({"PATH": str(tmp_path)})) == Finish()


def test_the_packaging_example_has_the_entry_point():
    assert tomllib.loads(blocks("toml"))["project"]["entry-points"]["penstock"]
