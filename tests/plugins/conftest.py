"""Plugins as pip would leave them: a module and its dist-info folder."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a distribution whose one module has the given source; entry points `name = module` by default."""
    before = set(sys.modules)

    def put(distribution: str, source: str, *, version: str = "1.0", points: dict[str, str] | None = None) -> None:
        module = distribution.lower().replace("-", "_").replace(".", "_")
        (tmp_path / f"{module}.py").write_text(dedent(source))
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = points if points is not None else {module: module}
        listed = "".join(f"{name} = {value}\n" for name, value in lines.items())
        (info / "entry_points.txt").write_text(f"[penstock]\n{listed}" if listed else "")
        monkeypatch.syspath_prepend(str(tmp_path))

    yield put
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
