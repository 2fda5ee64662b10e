"""The scripts for many GPUs: shell that parses, settings that exist, batches that divide."""

import re
import subprocess
from pathlib import Path

import pytest

from audiolm.training.preset import load_preset

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = {"paper_8_gpus.sh": 8, "slurm/train.sbatch": 64}


@pytest.mark.parametrize("name", [*SCRIPTS, "slurm/tokenize.sbatch"])
def test_bash_can_read_it(name) -> None:
    subprocess.run(["bash", "-n", EXAMPLES / name], check=True)


@pytest.mark.parametrize("name", SCRIPTS)
def test_its_settings_exist_and_every_batch_can_be_divided(name) -> None:
    lines = (EXAMPLES / name).read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    preset = load_preset(re.search(r"--preset (\w+)", text)[1], re.findall(r"--set (\S+)", text))
    assert preset.training.sharding == "fsdp"
    training = preset.training
    for step in preset.recipe:
        how = training.stages.get(step) or getattr(training, step, None)
        if hasattr(how, "optimization"):
            assert how.optimization.crops_per_pass(SCRIPTS[name]) >= 1


def test_a_share_that_is_submitted_again_is_of_the_same_number() -> None:
    text = (EXAMPLES / "slurm" / "tokenize.sbatch").read_text()
    shares = re.search(r"^SHARES=(\d+)$", text, re.MULTILINE)[1]
    assert f"--array=1-{shares}%" in text
    assert "SLURM_ARRAY_TASK_COUNT" not in text
