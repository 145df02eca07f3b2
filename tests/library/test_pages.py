"""The pages about the library: their examples run, and say something of every name."""

import re
from pathlib import Path

import pytest

import prernn_jax as pj

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("page", "printed"), [("api.md", "uint8"), ("streaming.md", "difference")])
def test_the_examples_run(page, printed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 4
    namespace: dict[str, object] = {}
    for block in blocks:
        exec(block, namespace)
    assert printed in capsys.readouterr().out


def test_every_public_name_is_explained_and_shown():
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    code = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    prose = re.sub(r"```python\n.*?```", "", text, flags=re.DOTALL)
    for name in pj.__all__:
        assert re.search(rf"\b{name}\b", prose), name
        if name not in ("SequenceModel", "__version__"):  # made by others, and a text
            assert f"pj.{name}" in code, name
    links = re.findall(r"\]\(#([\w-]+)\)", text)
    headings = re.findall(r"^## (.*)$", text, re.M)
    anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in headings}
    assert links
    assert set(links) <= anchors
