"""`penstock plugins`, and what a start says of plugins."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import processes
import pytest
import structlog
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from penstock.cli import cli
from penstock.failures import CannotStart
from penstock.loading import refuse_unlisted, tell_of_plugins
from programs.installed import installed, pins_of
from register.settings import Settings

pytestmark = pytest.mark.by_turns

ALPHA = """
    from penstock import hookimpl, program

    @hookimpl
    def penstock_programs():
        return [program("Alpha")(lambda: None)]

    @hookimpl
    def penstock_secret(reference):
        return None
"""
AWAY = "postgresql+psycopg://penstock@db.example/penstock"
ROOT = Path(__file__).parents[2]
TRAP = "raise RuntimeError('imported')"


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without settings of anybody's, and with the logging that was there before."""
    for name in [name for name in os.environ if name.startswith(("PENSTOCK_", "DB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def penstock(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="penstock")


def surveyed(*arguments: str, exit_code: int = 0) -> dict[str, dict[str, Any]]:
    done = penstock("plugins", "--json", *arguments)
    assert done.exit_code == exit_code, done.output
    return {one["name"]: one for one in json.loads(done.stdout)}


def test_everything_about_a_plugin(install, tmp_path):
    install("penstock-alpha", ALPHA, version="2.3", points={"alpha": "penstock_alpha"})
    info = tmp_path / "penstock_alpha-2.3.dist-info"
    (info / "INSTALLER").write_text("pip\n")
    (info / "direct_url.json").write_text('{"url": "https://x/y", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}')
    (found,) = installed()
    assert surveyed() == {
        "penstock-alpha": {
            "name": "penstock-alpha",
            "version": "2.3",
            "loaded": True,
            "why": "no list of plugins is set",
            "entry_points": {"alpha": "penstock_alpha"},
            "hooks": ["penstock_programs", "penstock_secret"],
            "programs": ["Alpha"],
            "location": str(tmp_path),
            "installer": "pip",
            "origin": "https://x/y@c0ffee",
            "editable": False,
            "sha256": found.contents.sha256,
            "no_hash": None,
            "changed": [],
            "pin": f"penstock-alpha==2.3@sha256:{found.contents.sha256}",
            "problems": [],
        }
    }
    text = penstock("plugins").stdout
    for part in ("penstock-alpha 2.3: loaded", "Alpha", "penstock_secret", "by pip", f"PENSTOCK_PLUGINS={found.pin}"):
        assert part in text


def test_what_is_not_loaded_says_why(install):
    install("penstock-alpha", ALPHA)
    install("penstock-trap", TRAP)
    wanted = "penstock-alpha==1.0, penstock-trap==2, penstock-gone==3, what?"
    found = surveyed("--plugins", wanted, exit_code=1)
    assert {name: (one["loaded"], one["why"]) for name, one in found.items()} == {
        "penstock-alpha": (True, "listed as penstock-alpha==1.0"),
        "penstock-trap": (False, "not what the list of plugins says"),
        "what?": (False, "listed, but there is no such plugin"),
        "penstock-gone==3": (False, "listed, but there is no such plugin"),
    }
    assert found["penstock-alpha"]["problems"] == found["penstock-trap"]["hooks"] == []
    assert "penstock-trap==2, and installed is penstock-trap==1.0@sha256:" in found["penstock-trap"]["problems"][0]
    assert "pip install penstock-gone==3" in found["penstock-gone==3"]["problems"][0]
    assert surveyed("--plugins", "penstock-alpha")["penstock-trap"]["why"] == "not on the list of plugins"
    assert surveyed("--no-plugins")["penstock-alpha"]["why"] == "plugins are off"
    assert "imported" in surveyed(exit_code=1)["penstock-trap"]["problems"][0]
    text = penstock("plugins").stdout
    assert "penstock-trap 1.0: not loaded, cannot be imported" in text
    assert "PENSTOCK_PLUGINS=penstock-alpha==1.0@sha256:" in text


def test_a_change_since_the_installation_is_found(install, tmp_path):
    module = install("penstock-alpha", ALPHA)
    module.write_text(module.read_text() + "# mended here")
    assert surveyed()["penstock-alpha"]["changed"] == ["penstock_alpha.py"]
    assert "penstock_alpha.py is not as it was installed" in penstock("plugins").stdout
    checked = json.loads(penstock("check", "--json", "--db", f"sqlite:///{tmp_path}/x.db").stdout)
    (found,) = [finding for finding in checked if finding["area"] == "plugins"]
    assert found["level"] == "warning"
    assert f"penstock-alpha 1.0, sha256:{installed()[0].contents.sha256}; changed" in found["words"]
    assert "penstock_alpha.py" in found["words"]


def test_without_plugins_there_is_nothing_to_say():
    done = penstock("plugins")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "No plugins are installed" in done.stderr
    with capture_logs() as said:
        refuse_unlisted(Settings(host="0.0.0.0"), None, False)
        tell_of_plugins(None, False, "db.example")
    assert said == []


# --- a start ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["serve", "up"])
def test_a_service_that_others_reach_wants_a_list_before_anything_is_imported(install, command):
    install("penstock-trap", TRAP)
    done = penstock(command, "--host", "0.0.0.0", "--clear-text", "--db", "sqlite:////nowhere/x.db")
    assert done.exit_code == 1
    assert "0.0.0.0 can be reached from elsewhere" in done.stderr
    assert f"set PENSTOCK_PLUGINS={pins_of(installed())} " in done.stderr
    assert "RuntimeError" not in done.stderr


@pytest.mark.parametrize(
    "settings, options, is_refused",
    [
        (Settings(), (None, False), False),
        (Settings(auth=True), (None, False), False),
        (Settings(behind_proxy=("10.0.0.2",)), (None, False), True),
        (Settings(host=""), (None, False), True),
        (Settings(host="192.0.2.1"), ("penstock-trap", False), False),
        (Settings(host="192.0.2.1"), ("", False), False),
        (Settings(host="192.0.2.1"), (None, True), False),
    ],
)
def test_who_needs_a_list(install, settings, options, is_refused):
    install("penstock-trap", TRAP)
    if is_refused:
        with pytest.raises(CannotStart, match=r"PENSTOCK_PLUGINS=penstock-trap==1\.0@sha256:"):
            refuse_unlisted(settings, *options)
    else:
        refuse_unlisted(settings, *options)


@pytest.mark.parametrize("host, is_warned", [("db.example", True), ("127.0.0.1", False), (None, False)])
def test_work_for_others_without_a_list_is_warned_of(install, host, is_warned):
    install("penstock-alpha", ALPHA)
    with capture_logs() as said:
        tell_of_plugins(None, False, host)
        tell_of_plugins("penstock-alpha", False, host)
        tell_of_plugins(None, True, host)
    assert [one["log_level"] for one in said] == (["info", *["warning"] * is_warned, "info", "info"])
    assert (said[-1]["loaded"], said[-1]["not_loaded"]) == ("none", "penstock-alpha 1.0")
    assert not is_warned or said[1]["event"].endswith(f"set PENSTOCK_PLUGINS={pins_of(installed())}")


@pytest.mark.parametrize(
    "command, host",
    [
        (("serve", "--port", "0"), None),
        (("up", "--port", "0", "--db", AWAY), "db.example"),
        (("watch", "--db", AWAY), "db.example"),
        (("work", "--url", "http://penstock.example:8000"), "penstock.example"),
    ],
)
def test_every_start_tells_for_whom_it_works(monkeypatch, command, host):
    def tell(plugins: object, no_plugins: bool, host: object) -> None:
        raise CannotStart(f"told {plugins} {no_plugins} {host}")

    monkeypatch.setattr("penstock.loading.tell_of_plugins", tell)
    done = penstock(*command, "--no-plugins")
    assert done.stderr == f"penstock: told None True {host}\n"


def test_a_start_names_what_is_loaded_and_what_is_not(install, tmp_path):
    install("penstock-alpha", ALPHA)
    pins = pins_of(installed())
    install("penstock-trap", TRAP)
    database = f"sqlite:///{tmp_path}/x.db"
    assert penstock("db", "init", "--no-samples", "--db", database).exit_code == 0
    variables = {"PENSTOCK_PLUGINS": pins, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = processes.run("watch", "--until-idle", "--interval", 0.1, "--db", database, cwd=tmp_path, env=variables)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "not_loaded" in line]
    assert "penstock-alpha 1.0" in line.partition("not_loaded")[0]
    assert "penstock-trap 1.0" in line.partition("not_loaded")[2]
