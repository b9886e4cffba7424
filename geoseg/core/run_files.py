"""Names of run folders and of the files in them."""

from pathlib import Path

#: Default folder of runs, below the current folder.
RUNS = Path("runs")

SETTINGS_NAME = "run.json"
MODEL_NAME = "model.safetensors"
#: The scored model, kept when ``model.safetensors`` was refitted with all labels.
SCORED_NAME = "scored.safetensors"
#: Folder of the refit, and the file that marks it as finished.
REFIT_NAME = "refit"
REFITTED_NAME = "refitted.json"
SCORES_NAME = "scores.json"
METRICS_NAME = "metrics.csv"
AREAS_NAME = "areas.csv"
CHECKPOINT_NAME = "last.ckpt"
PANEL_NAME = "panel.png"
CURVES_NAME = "curves.png"
REPORT_NAME = "report.html"
TIMES_NAME = "times.json"
TENSORBOARD_NAME = "tensorboard"
TRACE_NAME = "trace.json.gz"
RESTARTS_NAME = "restarts"
ROLES_NAME = "roles.geojson"
