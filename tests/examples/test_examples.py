"""Every example runs as it stands, on a tiny model in place of the bundled one."""

import importlib.util
import json
import sys
import types
from pathlib import Path

import pytest

from audiolm import pretrained
from audiolm.model import AudioLM
from audiolm.model_io.folder import save_part
from tiny import noise, tiny_model, tiny_stage

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """What stands for the package's models: a tiny `speech` with all that the examples ask for."""
    from audiolm.safety.detector import Detector
    from safety.made_up import CONFIG

    folder = tmp_path_factory.mktemp("models")
    base = tiny_model(kinds=("coarse", "fine", "acoustic_only", "parallel"))
    semantic = tiny_stage("semantic", base.codec, base.semantic, fill_in_the_middle=True)
    stages = {"semantic": semantic.rounded(), **base.stages}
    AudioLM(base.codec, base.semantic, stages, name="speech").save(folder / "speech")
    save_part(folder / "speech", "detector", Detector(CONFIG))
    noise(3.0).write(folder / "speech" / "prompt.wav")
    return folder


@pytest.fixture(autouse=True)
def there(models: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pretrained, "BUNDLED", models)


def run(name: str, *arguments: object) -> None:
    """A script as `python examples/NAME.py ARGUMENTS` runs it, in this process."""
    code = compile((EXAMPLES / name).read_text("utf-8"), name, "exec")
    before, sys.argv = sys.argv, [name, *map(str, arguments)]
    try:
        exec(code, {"__name__": "__main__"})
    finally:
        sys.argv = before


@pytest.mark.parametrize(
    ("name", "arguments", "made", "says"),
    [
        ("continuation.py", ["made"], ["continuation-0", "one-level", "other-voice"], ""),
        ("stream_to_file.py", ["stream.wav", 1], ["stream"], "1.0 s in stream.wav"),
        ("resynthesize.py", [], ["voice-0", "voice-2"], "semantic ids are heard again"),
        ("edit.py", [], ["same", "half", "double"], "before the gap kept"),
        ("detect.py", [], [], "continuation: "),
        ("evaluate.py", [], [], "4 levels, 1.0 kbit/s: STOI"),
    ],
)
def test_a_script(name, arguments, made, says, tmp_path, capsys) -> None:
    if name == "evaluate.py":
        pytest.importorskip("pystoi", reason="needs the extra audiolm[evaluate]")
    run(name, *arguments)
    assert says in capsys.readouterr().out
    assert {path.stem for path in tmp_path.rglob("*.wav")} >= set(made)


def test_every_script_is_tried_and_listed() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    tried = {case[0] for case in test_a_script.pytestmark[0].args[1]}
    assert scripts == tried
    listed = (EXAMPLES / "README.md").read_text("utf-8")
    assert all(name in listed for name in scripts)


def test_the_notebook_runs_from_top_to_bottom(monkeypatch) -> None:
    """Its cells one after the other, as a kernel would; nothing is shown."""
    pytest.importorskip("matplotlib", reason="needs the extra audiolm[train]")
    monkeypatch.setenv("MPLBACKEND", "agg")
    if importlib.util.find_spec("IPython") is None:  # its players are all that is used of it
        stand_in = types.ModuleType("IPython.display")
        stand_in.Audio, stand_in.display = lambda samples, rate: None, lambda player: None
        monkeypatch.setitem(sys.modules, "IPython.display", stand_in)
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    notebook = json.loads((EXAMPLES / "tour.ipynb").read_text("utf-8"))
    names: dict = {}
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], (
                "clear the outputs: recordings do not enter the repository"
            )
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    plt.close("all")
    assert names["out"].seconds > 4
