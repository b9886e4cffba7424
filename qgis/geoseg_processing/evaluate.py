"""geoseg evaluate."""

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterMapLayer,
)

from .algorithm import GeosegAlgorithm
from .inputs import (
    add_labels,
    add_model,
    add_tiles,
    check_tiles,
    labels_of,
    path_of,
    tiles_of,
)


class Evaluate(GeosegAlgorithm):
    """Scores a map against labels."""

    COMMAND = "evaluate"
    TITLE = "Score a map"
    HELP = (
        "Scores footprints or a class raster against labels, tile by tile: pixels and "
        "footprints, with 95 % intervals over tiles. With the model that made the map, "
        "tiles that it was matched or trained on are left out, and colour k-means and "
        "an untrained network are scored beside it."
    )
    TAGS = ("accuracy", "validation", "IoU", "F1")

    def initAlgorithm(self, configuration=None):
        self.add(
            QgsProcessingParameterMapLayer(
                "PREDICTION",
                "Map: footprints or class raster",
                types=[QgsProcessing.TypeVectorPolygon, QgsProcessing.TypeRaster],
            )
        )
        add_tiles(self)
        add_labels(self, needed=True)
        add_model(self, optional=True)
        self.add_extra()
        self.add(
            QgsProcessingParameterFileDestination(
                "OUTPUT", "Page of scores", "Pages (*.html)"
            )
        )

    def problem(self, parameters, context):
        return check_tiles(self, parameters)

    def processAlgorithm(self, parameters, context, feedback):
        output = self.parameterAsFileOutput(parameters, "OUTPUT", context)
        words = [
            self._prediction(parameters, context),
            *tiles_of(self, parameters, context),
            *labels_of(self, parameters, context, feedback),
            *self.option("--model", parameters, "MODEL", context),
            *self.extra(parameters, context),
            *("--report", output, "--overwrite"),
        ]
        self.run_geoseg(words, feedback)
        return {"OUTPUT": output}

    def _prediction(self, parameters, context):
        layer = self.parameterAsLayer(parameters, "PREDICTION", context)
        if layer.providerType() == "ogr":
            return layer.source().split("|")[0]
        return path_of(layer)
