"""The command ``geoseg methods``."""

import click

from geoseg.cli.printing import echo, echo_json

#: Family of methods → heading of its section.
FAMILIES = {
    "unsupervised": "Unsupervised, learn from tiles without labels",
    "reference": "References, learn from the labels of the matching tiles",
    "control": "Controls, simple methods that others have to beat",
}
PRESETS_HEADING = "Presets, measured settings of methods, for train --preset NAME"


@click.command("methods")
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """List the methods by what they learn from, or the parameters of the methods NAMES.

    Any parameter can be given to train as -p NAME=VALUE. A line below the parameters
    says how the checkpoint and the head are chosen without labels. The presets of the
    methods come last, with their options if NAMES are given.
    """
    from geoseg.methods import METHODS, method_defaults, method_help
    from geoseg.methods.presets import PRESETS, need_method

    chosen = names or tuple(METHODS)
    for name in names:
        need_method(name)  # raises for an unknown one before anything is printed
    presets = {name: row for name, row in PRESETS.items() if row.method in chosen}
    if as_json:
        table = {
            name: {**method_defaults(name), "help": method_help(name)}
            for name in chosen
        }
        table["presets"] = {
            name: {**preset._asdict(), "family": preset.family}
            for name, preset in presets.items()
        }
        echo_json(table, default=dict)
        return
    formatter = click.HelpFormatter(max_width=88)
    for family, heading in FAMILIES.items():
        own = [name for name in chosen if METHODS[name].family == family]
        if own:
            with formatter.section(heading):
                for name in own:
                    formatter.write_text(f"{name:14} {METHODS[name].summary}")
                    if names:
                        _write_parameters(formatter, name)
    if presets:
        with formatter.section(PRESETS_HEADING):
            for name, preset in presets.items():
                formatter.write_text(f"{name:14} {preset.method}: {preset.purpose}")
                if names:
                    _write_settings(formatter, name)
    echo(formatter.getvalue().strip())


def _write_parameters(formatter: click.HelpFormatter, name: str) -> None:
    from geoseg.methods import method_class, method_defaults, method_help

    texts = method_help(name)
    formatter.indent()
    formatter.write_dl(
        [(f"-p {k}={value}", texts[k]) for k, value in method_defaults(name).items()]
    )
    formatter.write_text(
        f"chosen without labels: {method_class(name).label_free_choice}"
    )
    formatter.dedent()


def _write_settings(formatter: click.HelpFormatter, name: str) -> None:
    from geoseg.methods.presets import PRESETS, additions, in_options

    formatter.indent()
    formatter.write_text(f"sets {in_options(additions(name, {}))}")
    formatter.write_text(f"measured in {PRESETS[name].measured}")
    formatter.dedent()
