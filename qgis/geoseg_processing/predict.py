"""geoseg predict."""

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

from .algorithm import GeosegAlgorithm
from .inputs import add_model, images_of
from .styling import load_styled

DEVICES = ("cpu", "auto", "cuda")
#: Rasters of a single image, or of a mosaic: parameter, option, title.
RASTERS = (
    ("CLASSES", "--raster", "Classes (of one image)"),
    ("PROBABILITY", "--probability", "Probability in percent (of one image)"),
)
#: Switches: parameter, option, title, whether it is for the few.
SWITCHES = (
    ("MOSAIC", "--mosaic", "Map adjoining images as one raster", False),
    ("REGULARIZE", "--regularize", "Right angles where the pixels support them", False),
    ("SPLIT", "--split", "Cut buildings apart that touch", False),
    ("SYMMETRIES", "--symmetries", "Average over turns and mirrors (8 × time)", True),
)
#: Numbers: parameter, option, title, default, whether it is for the few.
NUMBERS = (
    ("MIN_AREA", "--min-area", "Least area of a footprint, m²", 10.0, False),
    ("MIN_HOLE_AREA", "--min-hole-area", "Least area of a hole, m²", None, True),
    ("TOLERANCE", "--tolerance", "How far outlines may lie off, m", None, True),
)


class Predict(GeosegAlgorithm):
    """Maps images with a model into footprints."""

    COMMAND = "predict"
    TITLE = "Map buildings"
    HELP = (
        "Maps the buildings of images with a model that was trained and matched: one "
        "layer of polygons with class, score, area, perimeter and orientation.\n\n"
        "The model knows bands, normalisation and nodata. The images share a CRS. An "
        "output that exists is replaced. When a run into a file is cancelled, the same "
        "run goes on where it was. Buildings across the borders of adjoining images "
        "are whole where the images are mapped as one raster."
    )
    TAGS = ("footprints", "segmentation", "vectorize")

    def initAlgorithm(self, configuration=None):
        self.add(
            QgsProcessingParameterMultipleLayers(
                "LAYERS", "Images", QgsProcessing.TypeRaster
            )
        )
        add_model(self)
        self._add_how()
        self.add_extra()
        self.add(QgsProcessingParameterVectorDestination("OUTPUT", "Footprints"))
        for name, _, title in RASTERS:
            self.add(
                QgsProcessingParameterRasterDestination(
                    name, title, optional=True, createByDefault=False
                )
            )
        self.add(
            QgsProcessingParameterFolderDestination(
                "CLASS_FOLDER",
                "Folder for classes (of several images)",
                optional=True,
                createByDefault=False,
            ),
            advanced=True,
        )

    def _add_how(self):
        for name, _, title, default, advanced in NUMBERS:
            number = QgsProcessingParameterNumber(
                name,
                title,
                QgsProcessingParameterNumber.Double,
                default,
                optional=default is None,
                minValue=0,
            )
            self.add(number, advanced=advanced)
        for name, _, title, advanced in SWITCHES:
            self.add(
                QgsProcessingParameterBoolean(name, title, False), advanced=advanced
            )
        self.add(
            QgsProcessingParameterString(
                "FOOTPRINT_CLASSES", "Classes that become footprints", optional=True
            ),
            help="Separated by commas; by default building, else all but the first.",
        )
        self.add(
            QgsProcessingParameterString(
                "HEAD", "Head of the network whose clusters are mapped", optional=True
            ),
            advanced=True,
            help="By default that of the model; «What geoseg sees» lists them.",
        )
        self.add(
            QgsProcessingParameterEnum(
                "DEVICE", "Where the network runs", DEVICES, defaultValue=0
            ),
            advanced=True,
        )

    def processAlgorithm(self, parameters, context, feedback):
        images = images_of(self, parameters, "LAYERS", context)
        outputs = self._outputs(parameters, context)
        words = [
            *self._how(parameters, context),
            *(word for flag, path in outputs.values() for word in (flag, path)),
            *self.extra(parameters, context),
            "--overwrite",  # as all of Processing: its dialogs have asked before
            "--",
            *images,
        ]
        self.run_geoseg(words, feedback)
        self.results = {name: path for name, (_, path) in outputs.items()}
        return self.results

    def postProcessAlgorithm(self, context, feedback):
        for path in self.results.values():
            load_styled(path, context)
        return self.results

    def problem(self, parameters, context):
        layers = self.parameterAsLayerList(parameters, "LAYERS", context)
        mosaic = self.parameterAsBool(parameters, "MOSAIC", context)
        one = len(layers) == 1 or mosaic
        given = {name for name in parameters if parameters[name] not in (None, "")}
        single = [title for name, _, title in RASTERS if name in given]
        if not one and single:
            problem = "«{}» asked for {} images: take the folder for classes instead"
            return problem.format(single[0], len(layers))
        if "CLASS_FOLDER" in given and (one or "CLASSES" in given):
            return "the folder for classes is for several images: leave it empty"
        return None

    def _how(self, parameters, context):
        model = self.parameterAsString(parameters, "MODEL", context)
        device = DEVICES[self.parameterAsEnum(parameters, "DEVICE", context)]
        words = ["--model", model, "--device", device]
        for name, flag, *_ in NUMBERS:
            words += self.option(flag, parameters, name, context)
        for name, flag, *_ in SWITCHES:
            if self.parameterAsBool(parameters, name, context):
                words.append(flag)
        classes = self.parameterAsString(parameters, "FOOTPRINT_CLASSES", context)
        for name in filter(None, map(str.strip, classes.split(","))):
            words += ["--footprint-class", name]
        return words + self.option("--head", parameters, "HEAD", context)

    def _outputs(self, parameters, context):
        """Return ``{parameter: (option, path)}`` of what is asked for."""
        of = self.parameterAsOutputLayer
        outputs = {"OUTPUT": ("-o", of(parameters, "OUTPUT", context))}
        for name, flag, _ in RASTERS:
            outputs[name] = (flag, of(parameters, name, context))
        folder = self.parameterAsString(parameters, "CLASS_FOLDER", context)
        outputs["CLASS_FOLDER"] = ("--raster", folder)
        return {name: output for name, output in outputs.items() if output[1]}
