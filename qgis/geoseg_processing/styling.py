"""Layers that QGIS loads with the styles that geoseg wrote."""

from qgis.core import QgsProcessingLayerPostProcessorInterface

#: Processors that are still to come. QGIS owns them, but calls nothing once Python has
#: no reference to one (qgis/QGIS#47533).
WAITING = set()


class OwnStyle(QgsProcessingLayerPostProcessorInterface):
    """Gives a result the style that lies in it or beside it.

    Processing opens results without, unlike a user who drags them into QGIS.
    """

    def postProcessLayer(self, layer, context, feedback):
        WAITING.discard(self)
        layer.loadDefaultStyle()
        layer.triggerRepaint()


def load_styled(path, context):
    """Let a result have its own style if QGIS is about to load it.

    To be called in the main thread. The context deletes the processor: each layer needs
    one of its own.
    """
    if context.willLoadLayerOnCompletion(path):
        style = OwnStyle()
        WAITING.add(style)
        context.layerToLoadOnCompletionDetails(path).setPostProcessor(style)
