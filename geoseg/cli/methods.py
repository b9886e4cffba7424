"""``geoseg methods``."""

import json

import click

#: Family of methods → heading of its section.
FAMILIES = {
    "unsupervised": "Unsupervised, learn from tiles without labels",
    "reference": "References, learn from the labels of the matching tiles",
    "control": "Controls, show what is to be had for little",
}


@click.command("methods")
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """List the methods by what they learn from, or the parameters of the methods NAMES.

    Any of the parameters can be given to train as -p NAME=VALUE. After them stands how
    the method chooses what predicts without a look at labels.
    """
    from geoseg.methods import METHODS, method_class, method_defaults, method_help

    chosen = names or tuple(METHODS)
    for name in names:
        method_class(name)  # an unknown one is refused before anything is printed
    if as_json:
        table = {
            name: {**method_defaults(name), "help": method_help(name)}
            for name in chosen
        }
        click.echo(json.dumps(table, indent=2, ensure_ascii=False))
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
    click.echo(formatter.getvalue().strip())


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
