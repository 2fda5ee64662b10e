"""The folder of a step: what may change when it goes on, what is done, what is set aside."""

import json

import pytest
from pydantic import Field

from audiolm.configuration import Configuration
from audiolm.errors import ConfigurationError
from audiolm.training.optimizer import OptimizationConfig
from audiolm.training.step_folder import Done, StepFolder

KEYS = {"network": "codec", "training": "training.codec", "drawn": ""}


class Inner(Configuration):
    width: int = 4
    added_later: float = 0.0


class Network(Configuration):
    kind: str = "plain"
    inner: Inner | None = Inner()


class Training(Configuration):
    optimization: OptimizationConfig = Field(default=OptimizationConfig(steps=5))
    crop_seconds: float = 1.0


class Drawn(Configuration):
    seed: int = 0


@pytest.fixture
def begun(tmp_path) -> StepFolder:
    folder = StepFolder(tmp_path / "codec")
    folder.begin({"network": Network(), "training": Training(), "drawn": Drawn()}, {"codec": "c"})
    return folder


def test_the_same_settings_go_on(begun) -> None:
    begun.refuse_other({"network": Network(), "training": Training(), "drawn": Drawn()}, KEYS)


def test_nothing_is_refused_before_the_beginning(tmp_path) -> None:
    StepFolder(tmp_path / "codec").refuse_other({"network": Network(kind="other")}, KEYS)


@pytest.mark.parametrize(
    ("group", "changed", "says"),
    [
        ("network", Network(kind="other"), "codec.kind was plain when this was begun and is now"),
        ("network", Network(inner=Inner(width=5)), "codec.inner.width was 4 .* and is now 5"),
        ("network", Network(inner=None), r"codec\.inner"),
        ("training", Training(crop_seconds=2), r"training\.codec\.crop_seconds was 1.0 .* now 2.0"),
        ("drawn", Drawn(seed=1), r"codec: seed was 0 .* and is now 1"),
        (
            "training",
            Training(optimization=OptimizationConfig(steps=5, batch_size=9)),
            r"training\.codec\.optimization\.batch_size was 16 .* now 9; set it back, give --only "
            "codec --restart",
        ),
    ],
)
def test_a_key_that_changed_is_named(begun, group, changed, says) -> None:
    settings = {"network": Network(), "training": Training(), "drawn": Drawn()}
    with pytest.raises(ConfigurationError, match=says):
        begun.refuse_other(settings | {group: changed}, KEYS)


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 50},
        {"steps": None, "minutes": 3},
        {"learning_rate": 1e-5},
        {"clip": 0.1},
        {"checkpoint_seconds": 3.0},
    ],
)
def test_length_and_what_helps_after_trouble_may_change(begun, changes) -> None:
    optimization = OptimizationConfig(**({"steps": 5} | changes))
    begun.refuse_other({"training": Training(optimization=optimization)}, KEYS)


def test_settings_that_a_later_version_adds_had_their_default(begun) -> None:
    path = begun.path / "settings.json"
    content = json.loads(path.read_text())
    del content["network"]["inner"]["added_later"]
    del content["drawn"]  # a group that was not written then
    path.write_text(json.dumps(content))
    begun.refuse_other({"network": Network(), "drawn": Drawn(seed=8)}, KEYS)
    with pytest.raises(ConfigurationError, match=r"added_later was 0\.0 .* is now 0\.5"):
        begun.refuse_other({"network": Network(inner=Inner(added_later=0.5))}, KEYS)


def test_settings_that_this_version_does_not_know_are_told(begun) -> None:
    path = begun.path / "settings.json"
    content = json.loads(path.read_text())
    content["network"]["given_up"] = 3
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigurationError, match=r"codec\.given_up was 3 .* is now None"):
        begun.refuse_other({"network": Network()}, KEYS)


def test_done_is_kept_until_the_step_is_begun_again(begun) -> None:
    assert begun.done() is None
    done = Done({"codec": "abc"}, {"loss": 1.5}, 3.0, "audiolm 1")
    begun.finish(done)
    assert begun.done() == done
    begun.begin({"network": Network()}, {})
    assert begun.done() is None


def test_what_it_stands_on_is_known_from_the_beginning(begun, tmp_path) -> None:
    assert begun.begun_on() == {"codec": "c"}
    begun.finish(Done({"codec": "of done"}, {}, 0.0, ""))
    assert begun.begun_on() == {"codec": "of done"}
    assert StepFolder(tmp_path / "fine").begun_on() is None


def test_a_step_that_an_earlier_version_began_does_not_say_on_what(begun) -> None:
    path = begun.path / "settings.json"
    content = json.loads(path.read_text())
    del content["inputs"]
    path.write_text(json.dumps(content))
    assert begun.begun_on() is None


def test_set_aside_renames_and_never_overwrites(begun, tmp_path) -> None:
    for number in (1, 2):
        begun.finish(Done({}, {"run": number}, 0.0, ""))
        begun.set_aside()
        assert not begun.path.exists()
        kept = StepFolder(tmp_path / f"codec.old-{number}").done()
        assert kept is not None and kept.metrics == {"run": number}
    begun.set_aside()  # nothing there: nothing to do
    assert not (tmp_path / "codec.old-3").exists()
