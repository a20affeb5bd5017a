"""The allow-list: what its entries may say, who fits them, and that nothing else is imported."""

import hashlib
from pathlib import Path

import pytest

from programs.catalogue import Source, build_catalogue
from programs.errors import CatalogueError
from programs.installed import Installed, installed, pins_of
from watcher.executors.children import Children, NoChildError
from watcher.executors.limits import Limits
from watcher.slots import StopSignal

pytestmark = pytest.mark.by_turns

ALPHA = """
    from penstock import hookimpl, program

    @hookimpl
    def penstock_programs():
        return [program("Alpha")(lambda: None)]
"""
TRAP = "raise RuntimeError('imported')"
NO_HASH = "0" * 64


def only() -> Installed:
    (found,) = installed()
    return found


def problem(*plugins: str) -> str:
    with pytest.raises(CatalogueError) as caught:
        build_catalogue(plugins=plugins)
    (words,) = caught.value.problems
    return words


def test_the_hash_is_that_of_lines_as_sha256sum_prints_them(install, tmp_path):
    install("penstock-alpha", ALPHA)
    paths = [
        "penstock_alpha-1.0.dist-info/METADATA",
        "penstock_alpha-1.0.dist-info/entry_points.txt",
        "penstock_alpha.py",
    ]
    lines = [f"{hashlib.sha256((tmp_path / path).read_bytes()).hexdigest()}  {path}\n" for path in paths]
    assert only().contents.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert only().contents.changed == ()


def test_the_hash_is_the_same_on_another_machine_and_another_after_a_change(install, tmp_path):
    module = install("penstock-alpha", ALPHA)
    before = only().contents
    record = tmp_path / "penstock_alpha-1.0.dist-info/RECORD"
    of_here = ["INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"]
    for name in of_here:
        (record.parent / name).write_text("{}")
    rows = [f"{record.parent.name}/{name},," for name in of_here]
    record.write_text("\n".join([*reversed(record.read_text().splitlines()), *rows, "../../../bin/alpha,,"]))
    assert only().contents == before

    module.write_text(module.read_text() + "\n")
    changed = only().contents
    assert changed.sha256 not in (None, before.sha256)
    assert changed.changed == ("penstock_alpha.py",)
    module.unlink()
    assert only().contents.sha256 not in (None, before.sha256, changed.sha256)
    assert only().contents.changed == ("penstock_alpha.py",)


def test_what_has_no_hash_says_why(install, tmp_path):
    install("penstock-alpha", ALPHA, record=False)
    assert (only().contents.sha256, only().contents.missing) == (None, "it has no RECORD of its files")
    info = tmp_path / "penstock_alpha-1.0.dist-info"
    (info / "direct_url.json").write_text('{"url": "file:///src", "dir_info": {"editable": true}}')
    assert (only().is_editable, only().origin, only().pin) == (True, "file:///src", "penstock-alpha==1.0")
    said = problem(f"penstock-alpha@sha256:{NO_HASH}")
    assert "without a hash (it is an editable installation, whose files are not recorded)" in said
    assert "Alpha" in build_catalogue(plugins=["penstock-alpha==1.0"])


def test_an_entry_may_name_version_and_hash(install):
    install("penstock-alpha", ALPHA)
    install("penstock-trap", TRAP)
    alpha = installed()[0]
    digest = f"sha256:{alpha.contents.sha256}"
    for entry in (
        "penstock-alpha==1.0",
        f"Penstock.Alpha@{digest.upper().replace('SHA', 'sha')}",
        f"penstock_alpha == 1.0 @ {digest}",
        alpha.pin,
    ):
        assert "Alpha" in build_catalogue(plugins=[entry]), entry
    assert alpha.pin == f"penstock-alpha==1.0@{digest}"


@pytest.mark.parametrize(
    "entry",
    [
        "penstock-trap==1.1",
        "penstock-trap==1",
        f"penstock-trap@sha256:{NO_HASH}",
        f"penstock-trap==1.0@sha256:{NO_HASH}",
    ],
)
def test_what_does_not_fit_is_not_imported_and_stops_the_start(install, entry):
    install("penstock-trap", TRAP)
    said = problem(entry)
    assert "penstock-trap 1.0 were not imported" in said
    assert f"the list of plugins says {entry}, and installed is {only().pin};" in said


def test_a_changed_file_is_named(install):
    module = install("penstock-trap", TRAP)
    pin = only().pin
    module.write_text(TRAP + "  # as it was not before")
    assert "where penstock_trap.py changed since the installation" in problem(pin)


def test_files_that_hide_those_of_the_hash_are_not_imported(install, tmp_path_factory, monkeypatch):
    """As a checkout in the working folder does."""
    install("penstock-alpha", ALPHA)
    pin = only().pin
    hiding = tmp_path_factory.mktemp("checkout") / "penstock_alpha.py"
    hiding.write_text(TRAP)
    monkeypatch.syspath_prepend(str(hiding.parent))
    assert f"but Python would import {hiding}, which is not of it" in problem(pin)


def test_one_entry_that_fits_is_enough(install):
    install("penstock-alpha", ALPHA)
    assert "Alpha" in build_catalogue(plugins=["penstock-alpha==0.9", "penstock-alpha==1.0"])
    assert "penstock-alpha==0.9 or penstock-alpha==1.1" in problem("penstock-alpha==0.9", "penstock-alpha==1.1")


@pytest.mark.parametrize(
    "entry",
    ["penstock-alpha>=1", "penstock-alpha==", "penstock-alpha@sha256:12", "penstock-alpha@md5:12", "==1.0", "a b", "*",
     "penstock-alpha==1.0==1.0", "../alpha"],
)  # fmt: skip
def test_what_is_no_entry_is_refused(install, entry):
    install("penstock-alpha", TRAP)
    said = problem(entry)
    assert repr(entry) in said
    assert "NAME==VERSION@sha256:HASH" in said


def test_a_listed_version_that_is_not_there_is_named_for_pip():
    assert "`pip install penstock-gamma==2`" in problem("penstock-gamma==2")


def test_children_check_what_their_watcher_checked(install):
    """They import the files again, which may be others by then."""
    module = install("penstock-alpha", ALPHA)
    source = build_catalogue(plugins=[only().pin]).source
    assert source == Source((only().pin,))
    children = Children(source, Limits())
    try:
        children.give_back(children.borrow(StopSignal()), is_reusable=False)
        module.write_text(TRAP)
        with pytest.raises(NoChildError, match=r"penstock-alpha 1\.0 were not imported: the list of plugins says"):
            children.borrow(StopSignal())
    finally:
        children.close()


def test_the_list_of_all(install, tmp_path: Path):
    install("penstock-beta", ALPHA.replace("Alpha", "Beta"))
    install("penstock-alpha", ALPHA)
    value = pins_of(installed())
    assert set(build_catalogue(plugins=value.split(","))) >= {"Alpha", "Beta"}
