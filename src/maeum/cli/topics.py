"""What `maeum settings` lists: the settings classes of commands, networks, corpora and losses."""

from __future__ import annotations

from maeum.corpora import CORPORA
from maeum.corpora.base import NoOptions
from maeum.models.networks import MODELS
from maeum.preparation.collage import CollageOptions
from maeum.preparation.prepare import PrepareConfig
from maeum.preparation.views import ViewsConfig
from maeum.reports.settings import Topic
from maeum.runs.calibrate import CalibrateConfig
from maeum.runs.recipe import Recipe
from maeum.studies.compare import Comparison
from maeum.studies.compare_splits import CompareConfig
from maeum.studies.study import Study
from maeum.training.losses import LOSSES


def topics() -> dict[str, Topic]:
    """All topics by name: commands first, then networks, corpora that have options, and losses."""
    found = [
        Topic("train", "recipe of `maeum train`", Recipe),
        Topic("prepare", "settings of `maeum prepare`", PrepareConfig),
        Topic("augment", "settings of `maeum augment`", ViewsConfig),
        Topic("compare", "comparison of `maeum compare`", Comparison),
        Topic("reproduce", "study of `maeum reproduce`", Study),
        Topic("compare-splits", "comparison of `maeum compare-splits`", CompareConfig),
        Topic("calibrate", "settings of `maeum calibrate`", CalibrateConfig),
        *(Topic(name, f"`network:` of the network {name}", MODELS[name].config) for name in MODELS),
        *(
            Topic(name, f"`options:` of the corpus {name}", CORPORA[name].Options)
            for name in CORPORA
            if CORPORA[name].Options is not NoOptions
        ),
        *(Topic(name, f"`training.losses:` of the loss {name}", LOSSES[name].Config) for name in LOSSES),
        Topic("collage", "`options:` of the corpus collage", CollageOptions),
    ]
    return {topic.name: topic for topic in found}
