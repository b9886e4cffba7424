"""The plugin, which adds a Processing provider and removes it."""

from qgis.core import QgsApplication

from .provider import GeosegProvider


class GeosegPlugin:
    """What QGIS holds; without windows, so that ``qgis_process`` runs it as well."""

    def __init__(self):
        self.provider = None

    def initProcessing(self):
        """Register the provider; all that ``qgis_process`` asks for."""
        self.provider = GeosegProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self):
        """Begin; QGIS calls it when the plugin is switched on."""
        self.initProcessing()

    def unload(self):
        """Take the provider out of the toolbox."""
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None
