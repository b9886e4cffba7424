"""``geoseg methods``."""

import json

import click

#: Family of methods → what is said before their summaries.
FAMILIES = {
    "unsupervised": "",
    "reference": "uses labels: ",
    "control": "control: ",
}


@click.command("methods")
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """List the methods, or the parameters of the methods NAMES with their defaults.

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
    for name in chosen:
        entry = METHODS[name]
        formatter.write_text(f"{name:14} {FAMILIES[entry.family]}{entry.summary}")
        if names:
            _write_parameters(formatter, name)
    click.echo(formatter.getvalue().rstrip())


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
