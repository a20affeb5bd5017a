"""Plugins as pip would leave them: a module and its dist-info folder."""

import base64
import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a distribution whose one module has the given source; entry points `name = module` by default.

    Returns the module's file. `record=False`: without a list of files, as some packages of operating systems."""
    before = set(sys.modules)

    def put(
        distribution: str,
        source: str,
        *,
        version: str = "1.0",
        points: dict[str, str] | None = None,
        record: bool = True,
    ) -> Path:
        module = distribution.lower().replace("-", "_").replace(".", "_")
        file = tmp_path / f"{module}.py"
        file.write_text(dedent(source))
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = points if points is not None else {module: module}
        listed = "".join(f"{name} = {value}\n" for name, value in lines.items())
        (info / "entry_points.txt").write_text(f"[penstock]\n{listed}" if listed else "")
        if record:
            files = [file, info / "METADATA", info / "entry_points.txt"]
            rows = [f"{one.relative_to(tmp_path)},{_recorded(one)},{one.stat().st_size}" for one in files]
            (info / "RECORD").write_text("\n".join([*rows, f"{info.name}/RECORD,,", f"__pycache__/{module}.pyc,,"]))
        monkeypatch.syspath_prepend(str(tmp_path))
        return file

    yield put
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def _recorded(file: Path) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).decode().rstrip("=")
