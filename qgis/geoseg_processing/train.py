"""geoseg train."""

import os

from qgis.core import (
    QgsProcessingException,
    QgsProcessingOutputFile,
    QgsProcessingOutputHtml,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)

from . import program
from .algorithm import GeosegAlgorithm
from .inputs import add_labels, add_tiles, check_tiles, labels_of, tiles_of

#: As ``geoseg methods`` lists them; a test compares.
PRESETS = {
    "unsupervised": "the best network without labels, of three",
    "iic": "invariant information clustering, trained once",
    "labels": "the best network with a dozen labelled tiles",
    "semisup": "learns from tiles with labels and from those without",
    "colors": "the best map if labels only name clusters",
    "forest": "the best map if few tiles have labels",
}
DEFAULTS = "none: geoseg's own defaults"


class Train(GeosegAlgorithm):
    """Trains a model on tiles, and names its clusters if some have labels."""

    COMMAND = "train"
    TITLE = "Train a model"
    HELP = (
        "Trains a model on tiles: a network learns without labels to sort pixels into "
        "clusters. If some tiles have labels, those say which clusters are buildings, "
        "and the scores on tiles that were kept aside are shown; without labels, go on "
        "with «Match clusters with labels».\n\n"
        "Cancel ends the training after the current step, names the clusters and leaves a "
        "usable model."
    )
    TAGS = ("learning", "clustering", "segmentation")

    def initAlgorithm(self, configuration=None):
        add_tiles(self)
        add_labels(self, needed=False)
        choices = ["{}: {}".format(*preset) for preset in PRESETS.items()]
        self.add(
            QgsProcessingParameterEnum(
                "PRESET", "Preset", [*choices, DEFAULTS], defaultValue=0
            )
        )
        self._add_limits()
        self._add_roles()
        self.add_extra()
        self.add(QgsProcessingParameterFolderDestination("OUTPUT", "Run"))
        self.addOutput(QgsProcessingOutputFile("MODEL", "Model"))
        self.addOutput(QgsProcessingOutputHtml("REPORT", "Scores"))

    def _add_limits(self):
        integer = QgsProcessingParameterNumber.Integer
        self.add(
            QgsProcessingParameterNumber(
                "MAX_STEPS", "Steps", integer, None, optional=True, minValue=1
            ),
            help="By default those of the preset, else 600.",
        )
        self.add(
            QgsProcessingParameterNumber(
                "MAX_MINUTES", "Minutes", integer, None, optional=True, minValue=1
            ),
            help="Training ends after so long; matching and scoring follow.",
        )
        self.add(
            QgsProcessingParameterNumber("SEED", "Seed", integer, 0, minValue=0),
            advanced=True,
        )

    def _add_roles(self):
        for name, title, usual in (
            ("MATCH_TILES", "Labelled tiles to match on", "50, if enough are left"),
            (
                "TEST_TILES",
                "Labelled tiles to test on",
                "a quarter, but at least 50 and at most 700, and never more than half",
            ),
        ):
            self.add(
                QgsProcessingParameterString(name, title, optional=True),
                advanced=True,
                help="A number or a share such as 10%; by default {}. All others train "
                "with their labels hidden.".format(usual),
            )

    def problem(self, parameters, context):
        return check_tiles(self, parameters, labels_needed=False)

    def processAlgorithm(self, parameters, context, feedback):
        run = self.parameterAsString(parameters, "OUTPUT", context)
        words = [
            self.COMMAND,
            *tiles_of(self, parameters, context),
            *labels_of(self, parameters, context, feedback),
            *self._how(parameters, context),
            *self.extra(parameters, context),
            *("-o", run),
        ]
        stopped = program.run(words, feedback).stopped
        made = {
            "MODEL": os.path.join(run, "model.safetensors"),
            "REPORT": os.path.join(run, "report.html"),
        }
        # a training that was stopped leaves a model after its first step, but no report
        found = {name: path for name, path in made.items() if os.path.exists(path)}
        if stopped and "MODEL" not in found:
            raise QgsProcessingException("geoseg train was stopped before any step")
        return {"OUTPUT": run, **found}

    def _how(self, parameters, context):
        preset = self.parameterAsEnum(parameters, "PRESET", context)
        words = ["--preset", list(PRESETS)[preset]] if preset < len(PRESETS) else []
        words += self.option("--max-steps", parameters, "MAX_STEPS", context)
        if parameters.get("MAX_MINUTES") is not None:
            minutes = self.parameterAsInt(parameters, "MAX_MINUTES", context)
            words += ["--max-time", "{:02}:{:02}:00".format(*divmod(minutes, 60))]
        for name in ("MATCH_TILES", "TEST_TILES"):
            flag = "--" + name.lower().replace("_", "-")
            words += self.option(flag, parameters, name, context)
        return words + self.option("--seed", parameters, "SEED", context)
