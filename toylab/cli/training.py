"""The stage train of `toylab run`, shown and logged."""

from typing import Any


def train(
    job: Any, command: str, launcher: Any, tensorboard: bool, wandb: str | None, made: dict[str, str]
) -> dict[str, Any]:
    """Trains every part; those that were not finished before, with their configs.

    `tensorboard`, `wandb`: whether event files are written; the project in Weights & Biases, or None.
    `made`: when and by which commit, for what is fixed of the claims whose confirming seeds are trained.
    """
    from toylab import lab, store, sweep
    from toylab.lab import events, pages, preview, stages, verdicts, watch, weights_and_biases

    parts, specs = lab.parts(job.page), job.specs()
    runs = job.folder / "runs"
    trained = {}
    seeds = {name: [config.seed for config in members] for name, members in job.configs.items()}
    own: dict[str, Any] = {"sources": pages.sources(job.page)} if launcher.takes_sources else {}
    with launcher.connected():
        store.make_folder(runs, 0 if runs.is_dir() else preview.bytes_needed(job))
        verdicts.fix(job.page, job.scale, job.folder, seeds, made)
        for name, members in job.configs.items():
            if name:
                print(f"part {name}: {len(members)} runs", flush=True)
            others: list[Any] = [watch.Log(job.folder / "log.txt", name)]
            if tensorboard:
                others.append(events.Events(job.folder / "events" / name))
            if wandb:
                others.append(weights_and_biases.Runs(wandb, job.folder.name, name, members, job.folder))
            with watch.Watch(parts[name].milestone, others) as shown:
                launcher.train(
                    members,
                    specs[name],
                    runs / name,
                    lane=job.lane,
                    group_size=job.group,
                    command=command,
                    report=shown,
                    interrupted=shown.interrupted,
                    **own,
                )
            if shown.interrupted():  # asked while the last points were trained
                raise sweep.Interrupted(f"{runs / name} is trained to its end")
            is_kept = not shown.trained and stages.is_recorded(job.folder, name, members)
            if not is_kept:  # what was finished before keeps how it was made
                trained[name] = members
    return trained
