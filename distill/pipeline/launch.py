"""A training stage in processes of its own, as many as a launcher starts: torchrun, accelerate.

    edgedesk build RECIPE --launcher "torchrun --nproc-per-node 4"

The build holds the work folder and waits; the processes read it, train together, and the main process writes into the
stage's folder. Each is `python -m distill.pipeline.launch JOB`, where JOB is a file with the stage and its models.
Promises: a signal that stops the build stops the processes; an error of theirs is raised by the build. Knows nothing of
what a stage does.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.compute.distributed import SHARD, is_main_process
from runtime.base.child_process import child_environment
from runtime.errors import EdgedeskError, MissingError, ModelError, from_dict

if TYPE_CHECKING:
    from distill.pipeline.workspace import Workspace

END_S = 30.0
"""Time the processes have to end after a SIGTERM."""


def launch_processes(work: Workspace, name: str, inputs: Mapping[str, Any], out: Path, scratch: Path) -> dict[str, Any]:
    """Run a training stage under `work.launcher`; returns its figures, raises what the stage raised."""
    command = shlex.split(work.launcher)
    program = shutil.which(command[0]) or shutil.which(command[0], path=str(Path(sys.executable).parent))
    if program is None:
        raise MissingError(
            f"no program '{command[0]}'", where="--launcher", hint="torchrun and accelerate are installed"
        )
    with tempfile.TemporaryDirectory(prefix=".job-", dir=work.folder) as folder:
        job, answer = Path(folder) / "job.json", Path(folder) / "answer.json"
        write_job(job, work, name, inputs, out, scratch)
        shard = {SHARD: "1"} if work.shard else {}
        code = _run([program, *command[1:], "-m", "distill.pipeline.launch", str(job)], shard)
        found = json.loads(answer.read_text(encoding="utf-8")) if answer.is_file() else {}
    if "figures" in found and code == 0:
        return dict(found["figures"])
    if "error" in found:
        raise from_dict(found)
    raise ModelError(
        f"the training processes ended with exit code {code}",
        where=work.launcher,
        hint="see their output above; signal 9 often means out of memory. Run the same build again to continue",
    )


def _run(command: list[str], more: Mapping[str, str]) -> int:
    # Stdout is data; a launcher writes where it likes.
    with subprocess.Popen(command, stdout=sys.stderr, env=child_environment(**more)) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


def write_job(job: Path, work: Workspace, name: str, inputs: Mapping[str, Any], out: Path, scratch: Path) -> None:
    """What the processes read: the same recipe, folder and models, and where to write."""
    given = {
        "recipe": work.recipe.model_dump(mode="json"),
        "folder": str(work.folder),
        "base": asdict(work.base),
        "student": asdict(work.student) if work.student else None,
        "text_teacher": asdict(work.text_teacher) if work.text_teacher else None,
        "stage": name,
        "inputs": dict(inputs),
        "out": str(out),
        "scratch": str(scratch),
    }
    job.write_text(json.dumps(given, ensure_ascii=False, default=str), encoding="utf-8")


def read_job(job: Path) -> tuple[Workspace, str, Mapping[str, Any], Path]:
    """The work, the stage's name, what goes into it, and the folder it fills."""
    from distill.models.catalogue import Base
    from distill.pipeline.workspace import Workspace
    from distill.recipe.recipe import Recipe

    given = json.loads(job.read_text(encoding="utf-8"))

    def base(row: Mapping[str, Any]) -> Base:
        paths = {key: Path(row[key]) if row[key] else None for key in ("checkpoint", "gguf")}
        return Base(**{**row, **paths})

    roles = ("base", "student", "text_teacher")
    teacher, student, text_teacher = (base(given[role]) if given[role] else None for role in roles)
    assert teacher is not None
    recipe = Recipe.model_validate(given["recipe"])
    work = Workspace(recipe, Path(given["folder"]), teacher, student=student, text_teacher=text_teacher)
    return replace(work, given_scratch=Path(given["scratch"])), given["stage"], given["inputs"], Path(given["out"])


def main(job: Path) -> int:
    """Run one of the processes; the main one leaves `answer.json` next to the job. Returns the exit code."""
    from distill.compute.device import go_offline

    go_offline()
    from distill.pipeline.stage_table import STAGES
    from distill.pipeline.workspace import StageContext

    work, name, inputs, out = read_job(job)
    (row,) = (row for row in STAGES if row.name == name)
    try:
        answer: dict[str, Any] = {"figures": row.make(work, out, StageContext(inputs))}
    except EdgedeskError as error:
        answer = dict(error.to_dict())
    if is_main_process() or "error" in answer:
        (job.parent / "answer.json").write_text(json.dumps(answer, ensure_ascii=False), encoding="utf-8")
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
