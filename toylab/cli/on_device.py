"""`toylab run … --dry-run --device NAME`: what a sweep takes on a device that is not there."""

import json
from typing import Any


def named(name: str) -> Any:
    """The device of that name. ValueError where there is none, or its compiler is not installed.

    JAX keeps to this machine's CPU: else it would look for the devices whose compilers are installed.
    """
    import jax

    from toylab.sweep.ahead import devices

    if not getattr(jax.config, "jax_platforms"):
        jax.config.update("jax_platforms", "cpu")

    found = devices.device(name)
    devices.check_compiler(found)
    return found


def tell(job: Any, as_json: bool) -> int:
    """Prints what each program of a job takes; 0, or 1 where one could not be compiled for another reason than its size."""
    from toylab.lab import foretold, on_device, preview
    from toylab.sweep.ahead.compiled import NotCompiled

    previewed = preview.lines(job, True)  # raises where training would be refused
    if not as_json:
        print("\n".join([*previewed, *(foretold.heading(job) if job.configs else [])]), flush=True)
    records, status = [], 0
    for asked in on_device.programs(job):
        if not as_json:
            print(foretold.title(asked), flush=True)
        try:
            found = asked.predict()
            while narrower := asked.narrower(found):
                asked = narrower
                if not as_json:
                    print(f"{foretold.of_memory(found)}\n{foretold.title(asked)}", flush=True)
                found = asked.predict()
            records.append(foretold.record(asked, found))
            told = foretold.lines(asked, found)
        except NotCompiled as error:
            status = 1
            records.append(foretold.record(asked, None) | {"error": str(error)})
            told = [f"  failed    {error}"]
        if not as_json:
            print("\n".join(told), flush=True)
    if as_json:
        print(json.dumps(foretold.about(job) | {"programs": records}, indent=1, ensure_ascii=False))
    elif records:
        print("\n".join(foretold.ENDING))
    return status
