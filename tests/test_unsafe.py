"""What documents and examples show is copied: nothing in them makes code of data, as nothing in the code does."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted(path for path in (ROOT / "examples").rglob("*") if path.suffix in (".md", ".sh", ".sql", ".toml"))
OTHERS = [*sorted((ROOT / "sql/samples").glob("*.sql")), ROOT / "docker-compose.yml", ROOT / "Dockerfile"]
CODES = {"S102", "S301", "S302", "S307", "S506", "S602", "S604", "S605", "S609", "TID251"}
"""Rules of ruff that `make check` holds the code to: exec, eval, pickle, yaml.load, shells, and the banned modules."""
PATTERNS = {
    "a string for a shell": r"\b(ba|da|k|z)?sh\s+-\w*c\b|\bshell\s*=\s*True|\bos\.(system|popen)\b",
    "a download that runs": r"\b(curl|wget)\b[^\n|]*\|\s*(sudo\s+)?(ba|da|k|z)?sh\b",
    "eval": r"(^|[\s;&|(])eval\s+[\"'$]|\b(eval|exec)\s*\(",
    "pickle": r"\b(cloudpickle|pickle|marshal|shelve|dill)\b",
    "yaml.load": r"\byaml\.(load|unsafe_load|full_load)(_all)?\s*\(",
    "a template that is made of data": r"\bfrom_string\s*\(|\bTemplate\s*\(|\brender_template_string\b",
    "a template in a template": r"\{\{[^}\n]*(\{\{|\{%)",
    "a condition that is made by a template": r"\b(only_if|input_mapping|output_mapping)\b[^\n]*\{[{%]",
}
"""In any language, SQL and shell among them."""
PLANTED = [
    "```python\nimport subprocess as s\ns.run(f'convert {name}', shell=True)\n```",
    "```python\nfrom pickle import loads\n```",
    "```python\nimport yaml\nyaml.load(open('x'))\n```",
    "```python\nprint(eval(text))\n```",
    "```python\nimport os\nos.system(command)\n```",
    "```python\nimport jinja2\njinja2.Environment().from_string(call.results[1])\n```",
    '```console\n$ bash -c "resize $NAME"\n```',
    "```\n$ curl -s https://example.org/install | sudo sh\n```",
    '```sh\neval "$LINE"\n```',
    "  ```sql\n  INSERT INTO t VALUES ('{{ results[1] }} {{ {{ params.x }} }}');\n  ```",
    '```toml\nonly_if = "result > {{ params.least }}"\n```',
]


def unsafe_in(path: Path, folder: Path) -> list[str]:
    """What is unsafe in the blocks of a document, or in the whole of another file. `folder` is for copies."""
    text = path.read_text()
    blocks = list(_blocks(text)) if path.suffix == ".md" else [("", text)]
    found = [what for _, block in blocks for what, words in PATTERNS.items() if re.search(words, block, re.MULTILINE)]
    return found + _ruff([block for language, block in blocks if language == "python"], folder)


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Language and content of each block."""
    for found in re.finditer(r"^([ \t]*)```(\w*)\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE):
        yield found[2], re.sub(rf"^{found[1]}", "", found[3], flags=re.MULTILINE)


def _ruff(blocks: list[str], folder: Path) -> list[str]:
    """The rules that blocks of Python break."""
    if not blocks:
        return []
    for place, block in enumerate(blocks):
        (folder / f"block_{place}.py").write_text(block)
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    wanted = ["--select", ",".join(sorted(CODES)), "--output-format", "concise", str(folder)]
    answer = subprocess.run([*command, *wanted], capture_output=True, text=True, timeout=60)
    assert answer.returncode in (0, 1), answer.stderr
    return [line for line in answer.stdout.splitlines() if "block_" in line]


def test_the_code_is_held_to_the_same_rules() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert set(lint["select"]) >= CODES
    assert not CODES & set(lint["ignore"])
    assert "per-file-ignores" not in lint
    assert "pickle" in lint["flake8-tidy-imports"]["banned-api"]


def test_documents_and_examples_make_no_code_of_data(tmp_path: Path) -> None:
    found = {}
    for path in [*DOCS, *EXAMPLES, *OTHERS]:
        (folder := tmp_path / path.name.replace(".", "_")).mkdir(exist_ok=True)
        if unsafe := unsafe_in(path, folder):
            found[str(path.relative_to(ROOT))] = unsafe
    assert found == {}


@pytest.mark.parametrize("block", PLANTED, ids=lambda block: block.split("\n")[1][:30])
def test_what_is_planted_is_found(block: str, tmp_path: Path) -> None:
    planted = tmp_path / "page.md"
    planted.write_text(f"# A page\n\nSome words on eval() and pickle.\n\n{block}\n\nMore words.\n")
    assert unsafe_in(planted, tmp_path)
    planted.write_text(f"# A page\n\nSome words on eval() and pickle.\n\n{block.splitlines()[0].strip()}\nNoop\n```\n")
    assert unsafe_in(planted, tmp_path) == []
