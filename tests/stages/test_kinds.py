"""The table of kinds of stage."""

import pytest

from audiolm.errors import ConfigurationError
from audiolm.stages import KINDS, AutoregressiveStage, ParallelStage, Stage, build_stage, stage_kind
from stages.tiny_stages import tiny, tiny_parallel

ALL = ("semantic", "coarse", "fine", "acoustic_only", "parallel")


def test_the_kinds_and_what_the_paper_says_of_them():
    assert tuple(KINDS) == ALL
    assert [KINDS[name].temperature for name in ALL] == [0.6, 0.8, 0.6, 0.8, 0.8]
    assert [KINDS[name].ids_of for name in ALL] == [
        ("semantic",),
        ("codec", "semantic"),
        ("codec",),
        ("codec",),
        ("codec", "semantic"),
    ]


@pytest.mark.parametrize("name", ALL[:4])
def test_each_is_built_from_its_configuration(name):
    stage = build_stage(name, tiny(name).config)
    assert isinstance(stage, Stage) and isinstance(stage, AutoregressiveStage)
    assert stage.layout.roles == KINDS[name].roles


def test_a_parallel_stage_is_built_from_its_own():
    stage = build_stage("parallel", tiny_parallel().config)
    assert isinstance(stage, ParallelStage)
    assert stage.layout.roles == KINDS["coarse"].roles


def test_other_kinds_and_other_layouts_are_refused():
    with pytest.raises(ConfigurationError, match="'caorse': is no kind of stage; use semantic, co"):
        stage_kind("caorse")
    with pytest.raises(ConfigurationError, match=r"stage coarse: layout\.kind is fine"):
        build_stage("coarse", tiny("fine").config)
