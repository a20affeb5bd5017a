"""From installed plugins to a catalogue, or to a clear account of what is wrong."""

import pytest

from programs.catalogue import build_catalogue
from programs.contract import Call, Program, program
from programs.errors import CatalogueError
from programs.hooks import hookimpl
from programs.outcomes import Finish

BUILT_IN = {
    "EchoRandomTimeSleep",
    "EchoParamTimeSleep",
    "Noop",
    "ForEach",
    "Gather",
    "SubFlow",
    "FailForTrials",
    "HTTPPostRequest",
    "HTTPGetRequest",
    "Value",
    "ChooseSteps",
    "Wait",
    "WaitForMessage",
    "Approval",
    "Form",
    "WaitForHTTP",
}
HEAD = """
    from programs.contract import Call, Program, program
    from programs.outcomes import Finish
    from programs.hooks import hookimpl
"""


def plugin(name: str, body: str = "") -> str:
    return f"""{HEAD}
    {body}
    @program("{name}")
    def work(X: int = 1) -> int:
        "Works."
        return X

    @hookimpl
    def penstock_programs():
        return [work]
    """


def problems(**options) -> list[str]:
    with pytest.raises(CatalogueError) as caught:
        build_catalogue(**options)
    for problem in caught.value.problems:
        assert problem in str(caught.value)
    return caught.value.problems


def only(found: list[str]) -> str:
    assert len(found) == 1, found
    return found[0]


def test_the_built_in_programs_come_along():
    catalogue = build_catalogue(autoload=False)
    assert set(catalogue) == BUILT_IN
    entry = catalogue["Noop"]
    assert (entry.plugin, entry.distribution) == ("penstock", "penstock")
    assert entry.schema["title"] == "Noop"
    assert catalogue.get("noop") is None


def test_a_plugin_is_found_and_described(install):
    install("penstock-Alpha", plugin("Alpha"), version="2.3", points={"alpha": "penstock_alpha"})
    entry = build_catalogue()["Alpha"]
    assert (entry.plugin, entry.distribution, entry.version) == ("alpha", "penstock-Alpha", "2.3")
    assert entry.schema["properties"] == {"X": {"type": "integer", "default": 1}}
    assert entry.program.name == "Alpha"


@pytest.mark.parametrize("spelling", ["penstock-alpha", "Penstock_Alpha", "penstock.alpha"])
def test_the_list_of_plugins_decides_who_is_loaded(install, spelling):
    install("penstock-alpha", plugin("Alpha"))
    install("penstock-beta", "raise RuntimeError('not on the list, so not even imported')")
    assert set(build_catalogue(plugins=[spelling])) == BUILT_IN | {"Alpha"}
    assert set(build_catalogue(plugins=[spelling], autoload=False)) == BUILT_IN | {"Alpha"}
    assert set(build_catalogue(plugins=[])) == BUILT_IN
    assert set(build_catalogue(autoload=False)) == BUILT_IN


def test_a_listed_plugin_that_is_not_there_is_an_error(install):
    install("penstock-alpha", plugin("Alpha"), points={})
    absent, pointless = problems(plugins=["penstock-gamma", "penstock-alpha"])
    assert "penstock-gamma is listed but not installed" in absent
    assert "pip install penstock-gamma" in absent
    assert "penstock-alpha" in pointless
    assert "no entry point" in pointless


def test_two_plugins_with_one_program_name_are_both_named(install):
    install("penstock-alpha", plugin("Same"), version="1.1")
    install("penstock-beta", plugin("Same"), version="2.2")
    found = only(problems())
    assert "'Same'" in found
    assert "penstock-alpha 1.1" in found
    assert "penstock-beta 2.2" in found
    assert "rename one" in found


def test_a_plugin_cannot_replace_a_built_in_program(install):
    install("penstock-alpha", plugin("Noop"))
    found = only(problems())
    assert "'Noop'" in found
    assert "plugin penstock (penstock" in found
    assert "penstock-alpha 1.0" in found


@pytest.mark.parametrize(
    "name, hint", [("penstock_program", "did you mean penstock_programs?"), ("programs", "did you mean")]
)
def test_a_misspelt_hook_is_an_error(install, name, hint):
    install("penstock-alpha", f"{HEAD}\n    @hookimpl\n    def {name}(): return []")
    found = only(problems())
    assert "plugin penstock_alpha (penstock-alpha 1.0)" in found
    assert f"there is no hook {name}" in found
    assert hint in found


def test_a_hook_without_its_marker_is_an_error(install):
    install("penstock-alpha", "def penstock_programs(): return []")
    install("penstock-beta", plugin("Beta", "def penstock_progams(): return []\n"))
    first, second = problems()
    assert "penstock-alpha" in first
    assert "penstock_programs is not marked: put `@hookimpl`" in first
    assert "penstock-beta" in second
    assert "did you mean penstock_programs?" in second


def test_an_optional_hook_of_another_version_is_no_error(install):
    install("penstock-alpha", plugin("Alpha", "@hookimpl(optionalhook=True)\n    def penstock_later(): ...\n"))
    assert "Alpha" in build_catalogue()


def test_a_plugin_without_any_hook_is_an_error(install):
    install("penstock-alpha", "x = 1")
    assert "implements no hook" in only(problems())


def test_a_hook_with_arguments_nobody_passes_is_an_error(install):
    install("penstock-alpha", f"{HEAD}\n    @hookimpl\n    def penstock_programs(settings): return []")
    found = only(problems())
    assert "penstock-alpha" in found
    assert "settings" in found


@pytest.mark.parametrize(
    "source, said",
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import does_not_exist_anywhere", "ModuleNotFoundError"),
        ("def f(:", "SyntaxError"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named_with_its_cause(install, source, said):
    install("penstock-alpha", source)
    with pytest.raises(CatalogueError) as caught:
        build_catalogue()
    found = only(caught.value.problems)
    assert "plugin penstock_alpha (penstock-alpha 1.0)" in found
    assert said in found
    assert "pip uninstall penstock-alpha" in found
    assert type(caught.value.__cause__).__name__ in said


def test_an_entry_point_that_leads_nowhere_is_an_error(install):
    install("penstock-alpha", plugin("Alpha"), points={"a": "penstock_alpha:missing"})
    assert "AttributeError" in only(problems())


def test_a_module_with_two_entry_points_is_an_error(install):
    install("penstock-alpha", plugin("Alpha"), points={"a": "penstock_alpha", "b": "penstock_alpha"})
    assert "plugin b (penstock-alpha 1.0): was added before" in only(problems())


def test_a_hook_that_raises_is_named_with_its_cause(install):
    install("penstock-alpha", f"{HEAD}\n    @hookimpl\n    def penstock_programs(): return 1 / 0")
    with pytest.raises(CatalogueError) as caught:
        build_catalogue()
    assert "penstock-alpha 1.0): its hook penstock_programs raised ZeroDivisionError" in caught.value.problems[0]
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    "answer, said",
    [
        ("None", "must return a list of programs, not None"),
        ("(work,)", "must return a list"),
        ("work", "must return a list"),
        ("(x for x in [work])", "must return a list"),
        ("[work, 3]", "returned 3, which is no program"),
        ("[print]", "no program: use a Program class or @program"),
        ("[Named]", "the class Named; return an object of it, Named()"),
        ("[Nameless()]", "Nameless needs a `name`"),
        ("[Blank()]", "Blank needs a `name`"),
        ("[program(lambda *a: 1)]", "parameters are given by name"),
        ("[program('odd')(lambda a: 1)]", "program 'odd': a has no type"),
        ("[work, work]", "two programs are called 'work'"),
    ],
)
def test_what_is_no_list_of_programs_is_refused(install, answer, said):
    install(
        "penstock-alpha",
        f"""{HEAD}
    class Named(Program):
        name = "Named"
        def run(self, call: Call): return Finish()

    class Nameless(Program):
        def run(self, call: Call): return Finish()

    class Blank(Nameless):
        name = "Blank "

    @program
    def work(): ...

    @hookimpl
    def penstock_programs(): return {answer}
    """,
    )
    found = only(problems())
    assert "penstock-alpha 1.0" in found
    assert said in found


def test_everything_that_is_wrong_is_said_at_once(install):
    install("penstock-alpha", "raise RuntimeError('one')")
    install("penstock-beta", "raise RuntimeError('two')")
    install("penstock-gamma", plugin("Noop", "def penstock_typo(): ...\n"))
    with pytest.raises(CatalogueError) as caught:
        build_catalogue(plugins=["penstock-alpha", "penstock-beta", "penstock-gamma", "penstock-delta"])
    text = str(caught.value)
    assert len(caught.value.problems) == 5
    assert text.startswith("5 problems")
    for part in ("one", "two", "penstock_typo", "'Noop'", "penstock-delta"):
        assert part in text
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert [str(e) for e in caught.value.__cause__.exceptions] == ["one", "two"]


def test_programs_and_plugin_objects_can_be_handed_over():
    @program
    def alone(): ...

    @program
    def along(): ...

    class Plugin:
        @hookimpl
        def penstock_programs(self):
            return [along]

    catalogue = build_catalogue(extra=[alone, Plugin()], autoload=False)
    assert set(catalogue) == BUILT_IN | {"alone", "along"}
    assert (catalogue["alone"].distribution, catalogue["along"].plugin) == ("", "Plugin")
    again = program("alone")(lambda: None)
    assert "two programs are called 'alone'" in only(problems(extra=[alone, again], autoload=False))


def test_a_program_class_handed_over_is_refused_like_any_other():
    class Careless(Program):
        name = "Careless"

        def run(self, call: Call):
            return Finish()

    assert "Careless()" in only(problems(extra=[Careless], autoload=False))
