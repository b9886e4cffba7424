"""The provider ``geoseg`` of the Processing toolbox."""

from processing.core.ProcessingConfig import ProcessingConfig, Setting
from qgis.core import QgsProcessingProvider

from .algorithm import icon
from .evaluate import Evaluate
from .info import Info
from .match import Match
from .predict import Predict
from .program import NAME, SETTING
from .train import Train

ALGORITHMS = (Train, Match, Predict, Evaluate, Info)


class GeosegProvider(QgsProcessingProvider):
    """Algorithms that run geoseg, and the setting that says where it is."""

    def id(self):
        return NAME

    def name(self):
        return NAME

    def longName(self):
        return "geoseg: buildings without training labels"

    def icon(self):
        return icon()

    def load(self):
        ProcessingConfig.settingIcons[self.name()] = self.icon()
        ProcessingConfig.addSetting(
            Setting(
                self.name(),
                SETTING,
                "Program geoseg (empty: the one on PATH)",
                "",
                valuetype=Setting.FILE,
            )
        )
        ProcessingConfig.readSettings()
        self.refreshAlgorithms()
        return True

    def unload(self):
        ProcessingConfig.removeSetting(SETTING)
        ProcessingConfig.settingIcons.pop(self.name(), None)

    def loadAlgorithms(self):
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())

    def supportedOutputVectorLayerExtensions(self):
        return ["gpkg", "geojson", "geojsonl", "fgb"]

    def supportedOutputRasterLayerExtensions(self):
        return ["tif"]
