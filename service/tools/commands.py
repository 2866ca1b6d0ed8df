"""Commands of `python -m service` that are not part of the service: sandbox, demo, drill."""

import sys

import click

from service.command import log_to_stderr


@click.command(help="Run the sandbox: simulated PiAPI and ModelsLab, for trying Callbridge without a key.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=9000, show_default=True)
def sandbox(host: str, port: int) -> None:
    from service.tools.sandbox.app import run

    log_to_stderr()
    run(host, port)


@click.command(help="Show the main job step by step, with the sandbox as provider.")
@click.option("--keep", is_flag=True, help="Leave it running to look at, until Ctrl-C.")
@click.pass_context
def demo(context: click.Context, keep: bool) -> None:
    from service.tools.demo.run import main as run

    context.exit(run(keep))


@click.command(help="Kill the service at every commit point, and check that nothing is lost.")
@click.option("--random", "random_kills", default=20, show_default=True, help="Kills at random moments.")
@click.option("--seed", type=int, help="Repeat the random choices of an earlier run; the seed of each run is printed.")
@click.option("--points", default="all", show_default=True, help="Comma-separated commit points, `all` or `none`.")
@click.option(
    "--engine", type=click.Choice(["sqlite", "postgres"]), default="sqlite", show_default=True, help="The database."
)
@click.option("--processes", default=3, show_default=True, help="With --engine postgres: how many processes.")
@click.option("--siege", is_flag=True, help="Attack it instead, and check other callers' waits and its memory.")
@click.option("--only", default="", help="With --siege: only attacks with this text in their name.")
@click.option("--soak", is_flag=True, help="Load it for long instead: do memory and files stay flat?")
@click.option("--minutes", default=10.0, show_default=True, help="With --soak: how long.")
@click.option("--rate", default=100.0, show_default=True, help="With --soak: tasks a second.")
def drill(
    random_kills: int,
    seed: int | None,
    points: str,
    engine: str,
    processes: int,
    siege: bool,
    only: str,
    soak: bool,
    minutes: float,
    rate: float,
) -> None:
    if soak:
        from service.tools.drill.soak.command import run_soak

        if not run_soak(minutes, rate):
            sys.exit(1)
        return
    if siege:
        from service.tools.drill.siege.command import run_siege

        if not run_siege(only):
            sys.exit(1)
        return
    from service.tools.drill.command import run_cluster_drill, run_drill

    if engine == "postgres":
        passed = run_cluster_drill(processes, random_kills, seed)
    else:
        passed = run_drill(random_kills, seed, points)
    if not passed:
        sys.exit(1)
