"""geoseg match."""

from qgis.core import QgsProcessingParameterEnum, QgsProcessingParameterFileDestination

from .algorithm import GeosegAlgorithm
from .inputs import add_labels, add_model, add_tiles, check_tiles, labels_of, tiles_of

OBJECTIVES = ("f1", "accuracy")


class Match(GeosegAlgorithm):
    """Names the clusters of a model by labels."""

    COMMAND = "match"
    TITLE = "Match clusters with labels"
    HELP = (
        "Says which clusters of a model are buildings, from some tiles with labels. "
        "The result is the model with that knowledge; the table of clusters and classes "
        "stands in the log."
    )
    TAGS = ("clusters", "labels")

    def initAlgorithm(self, configuration=None):
        add_model(self)
        add_tiles(self)
        add_labels(self, needed=True)
        self.add(
            QgsProcessingParameterEnum(
                "OBJECTIVE",
                "What the choice of clusters maximises",
                OBJECTIVES,
                defaultValue=0,
            ),
            advanced=True,
        )
        self.add_extra()
        self.add(
            QgsProcessingParameterFileDestination(
                "OUTPUT", "Matched model", "Models of geoseg (*.safetensors)"
            )
        )

    def problem(self, parameters, context):
        return check_tiles(self, parameters)

    def processAlgorithm(self, parameters, context, feedback):
        output = self.parameterAsFileOutput(parameters, "OUTPUT", context)
        objective = self.parameterAsEnum(parameters, "OBJECTIVE", context)
        words = [
            *("--model", self.parameterAsString(parameters, "MODEL", context)),
            *tiles_of(self, parameters, context),
            *labels_of(self, parameters, context, feedback),
            *("--objective", OBJECTIVES[objective]),
            *self.extra(parameters, context),
            *("-o", output, "--overwrite"),
        ]
        self.run_geoseg(words, feedback)
        return {"OUTPUT": output}
