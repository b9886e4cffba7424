"""geoseg info."""

from qgis.core import (
    QgsProcessing,
    QgsProcessingException,
    QgsProcessingOutputString,
    QgsProcessingParameterMultipleLayers,
)

from .algorithm import GeosegAlgorithm
from .inputs import add_model, images_of


class Info(GeosegAlgorithm):
    """Describes images and a model."""

    COMMAND = "info"
    TITLE = "What geoseg sees"
    HELP = (
        "Says what geoseg sees in images (bands, values, nodata) or in a model (method, "
        "bands, heads, clusters); given both, whether the images fit the model. The "
        "answer stands in the log."
    )
    TAGS = ("inspect", "describe")

    def initAlgorithm(self, configuration=None):
        self.add(
            QgsProcessingParameterMultipleLayers(
                "LAYERS", "Images", QgsProcessing.TypeRaster, optional=True
            )
        )
        add_model(self, optional=True)
        self.add_extra()
        self.addOutput(QgsProcessingOutputString("OUTPUT", "What geoseg sees"))

    def processAlgorithm(self, parameters, context, feedback):
        model = self.parameterAsString(parameters, "MODEL", context)
        layers = parameters.get("LAYERS")
        images = images_of(self, parameters, "LAYERS", context) if layers else []
        if not images and not model:
            raise QgsProcessingException("neither images nor model given: give one")
        words = [*(["--model", model] if images and model else [])]
        words += self.extra(parameters, context)
        words += ["--", *(images or [model])]
        return {"OUTPUT": self.run_geoseg(words, feedback)}
