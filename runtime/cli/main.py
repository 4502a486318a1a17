"""The branch's commands: install, rollback, generations, serve, ask, doctor.

Stdout is data, stderr is talk; `--json` for scripts. Errors are raised; `run_app` prints them.
Heavy libraries are imported by the command that needs them.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.base.progress import counter
from runtime.cli.output import out, out_json, run_app, talk, write
from runtime.errors import BusyError, EdgedeskError, ExitCode, UnavailableError, UsageError

if TYPE_CHECKING:
    from runtime.bundle.bundle import Bundle
    from runtime.events import Event
    from runtime.perception.attachment_text import AttachmentText

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="Folder of this branch.",
        envvar="EDGEDESK_HOME",
        show_default="the user's data folder",
        readable=False,  # whose it is says `find_home`; typer would print how the command is used
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Threads = Annotated[int | None, typer.Option("--threads", help="Processor threads for the model.")]


@app.command(epilog="Example: edgedesk install /media/stick/release --root company.root.json")
def install(
    bundle: Annotated[
        str, typer.Argument(help="A signed release (a folder, an https or an oci address), or the folder of a bundle.")
    ],
    root: Annotated[
        Path | None,
        typer.Option(help="The company's root.json, to compare the first release with; refuses a plain bundle."),
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Verify a release or a bundle and make it the one this branch runs."""
    from runtime.base.home import find_home
    from runtime.bundle import generations
    from runtime.bundle.sources import is_address, is_release

    where = find_home(home)
    with counter("installing") as step:

        def progress(_: str, done: int, total: int) -> None:
            step(done, total)

        if is_address(bundle) or is_release(Path(bundle)):
            number = _install_release(bundle, where, root, progress)
        else:
            number = generations.install(Path(bundle), where, progress=progress, signed_only=root is not None)
    installed = generations.current_bundle(where)
    _make_index(installed, where)
    _measure_threads(installed, where)
    _warn(installed)
    info = installed.info
    if as_json:
        out_json({"generation": number, "bundle": info.name, "version": info.version})
    else:
        out(f"{info.name} {info.version} is generation {number}")
        talk("A running server changes to it as soon as its answers in work are written.")


@app.command(epilog="Example: edgedesk rollback")
def rollback(
    to: Annotated[int | None, typer.Option("--to", min=1, help="Go back to this generation.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Return to the previous generation, once every file of it is verified."""
    from runtime.base.home import find_home
    from runtime.bundle import generations

    where = find_home(home)
    number = generations.rollback(where, to, skip_damaged=False)
    installed = generations.current_bundle(where)
    _make_index(installed, where)
    info = installed.info
    if as_json:
        out_json({"generation": number, "bundle": info.name, "version": info.version})
    else:
        out(f"generation {number} is current again: {info.name} {info.version}")


@app.command(epilog="Example: edgedesk generations --json")
def generations(
    clean: Annotated[
        bool, typer.Option("--clean", help="First delete old ones, as the setting keep_generations says.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List the installed bundles."""
    from runtime.base.home import find_home
    from runtime.bundle import generations

    where = find_home(home)
    if clean:
        _clean_up(where)
    found = generations.generations(where)
    rows = [
        {"generation": one.number, "bundle": one.info.name, "version": one.info.version, "current": one.current}
        for one in found
    ]
    if as_json:
        out_json({"generations": rows})
        return
    if not rows:
        talk("No bundle is installed: edgedesk install BUNDLE")
    for row in rows:
        mark = "*" if row["current"] else " "
        out(f"{mark} {row['generation']}  {row['bundle']} {row['version']}")


@app.command(epilog="Example: edgedesk serve --home /srv/edgedesk")
def serve(
    home: Home = None,
    port: Annotated[
        int | None, typer.Option(help="Also listen on this TCP port, token required; 0 takes any free port.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address of the TCP port; addresses other machines can reach need TLS.")
    ] = None,
    threads: Threads = None,
) -> None:
    """Answer the console and other programs over this branch's socket until stopped."""
    from runtime.base.home import find_home
    from runtime.base.settings import load_settings
    from runtime.server.main import serve as run

    where = find_home(home)
    run(where, load_settings(where, port=port, host=host, threads=threads), say=talk)


@app.command(epilog='Example: edgedesk ask "How long do I have to return something?" --json')
def ask(
    question: Annotated[
        str | None, typer.Argument(help="The question; may be left out with --audio or --image.")
    ] = None,
    audio: Annotated[Path | None, typer.Option(help="A recording of the question: WAV, FLAC, OGG, MP3.")] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(help="A picture or scan that goes with the question: PNG, JPEG, WebP, HEIC, PDF."),
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
    threads: Threads = None,
    lang: Annotated[str | None, typer.Option(help="Language of the question, such as zh; detected by default.")] = None,
) -> None:
    """Answer one question with its sources, through the running server or without one."""
    from runtime.base.home import find_home
    from runtime.cli.spoken_question import hear_question
    from runtime.events import Done, Failed, Queued, Token

    where = find_home(home)
    if question is None and audio is None and not image:
        raise UsageError(
            "no question", where="ask", hint='edgedesk ask "…", --audio question.wav, or --image receipt.jpg'
        )
    if image and len(image) > 1:
        raise UsageError("one picture goes with a question", where="--image", hint="ask about one after the other")
    heard = hear_question(audio, where, lang) if audio else ""
    question = "\n\n".join(part for part in ((question or "").strip(), heard) if part)
    read: AttachmentText | None = None
    if image:
        from runtime.cli.attachments import read_for_question  # a question without a picture does without it

        read = read_for_question(image[0], where)
    done: Done | None = None
    # What is written may give way to what is checked: a pipe gets the answer alone.
    watched, draft = sys.stdout.isatty() and not as_json, ""
    with _events(where, question, lang, threads, read) as events:
        for event in events:
            if isinstance(event, Failed):
                raise event.exception()
            if isinstance(event, Queued) and event.position:
                talk(f"queued: {event.position} ahead of you")
            if isinstance(event, Token) and watched:
                draft += event.text
                write(event.text)
            if isinstance(event, Done):
                done = event
    if done is None:
        raise UnavailableError("the answer was cut", hint="ask again")
    if as_json:
        out_json(
            {
                **({"heard": heard} if audio is not None else {}),
                "answer": done.answer,
                "citations": [
                    {"article": one.article, "section": one.section, "text": one.text} for one in done.citations
                ],
                "ttft_s": done.ttft_s,
                "tokens_per_s": done.tokens_per_s,
                "model": done.model,
                **({"read": read.model_dump(exclude_none=True)} if read else {}),
            }
        )
        return
    if done.answer.strip() != draft.strip():
        if watched:
            write("\n")
            talk("That draft was replaced by:")
        write(done.answer)
    write("\n")
    for number, one in enumerate(done.citations, start=1):
        out(f"[{number}] {one.article}#{one.section}  {one.title}: {one.heading}")
    if done.unsupported:
        talk(f"Not in the articles: {', '.join(done.unsupported)}")
    if done.handoff:
        talk(f"Hand over to a person: {done.handoff}")
    speed = f", {done.tokens_per_s:.0f} tokens a second" if done.tokens_per_s else ""
    talk(f"first word after {done.ttft_s:.2f} s{speed} ({done.model})")


@app.command(epilog="Example: edgedesk doctor")
def doctor(home: Home = None, as_json: AsJson = False) -> None:
    """Check this machine, its bundle and its server; exit code 1 if a check fails."""
    from runtime.base.home import find_home
    from runtime.cli.doctor import examine

    findings = examine(find_home(home))
    if as_json:
        out_json({"ok": all(one.ok for one in findings), "checks": [one.as_dict() for one in findings]})
    else:
        for one in findings:
            out(f"{'ok  ' if one.ok else 'FAIL'} {one.name}: {one.said}" + (f" ({one.hint})" if one.hint else ""))
    if not all(one.ok for one in findings):
        raise typer.Exit(int(ExitCode.FAILED))


@contextmanager
def _events(
    home: Path, question: str, lang: str | None, threads: int | None, read: AttachmentText | None
) -> Iterator[Iterator[Event]]:
    """The events of an answer: from the server if one runs, else from a desk opened here for this one question."""
    from runtime.base.collector import collector_paused
    from runtime.base.settings import load_settings
    from runtime.bundle.generations import current_bundle
    from runtime.cli.server_or_home import server_or_home
    from runtime.events import make_request
    from runtime.perception.attachment_text import asking_lines, with_question

    message, asking = (with_question(question, read), asking_lines(question, read)) if read else (question, None)
    with ExitStack() as stack:
        client = stack.enter_context(server_or_home(home, "ask", lambda: current_bundle(home)))
        if client is not None:
            yield client.ask(message, asking=asking, lang=lang)
            return
        request = make_request(question=message, asking=asking, lang=lang)
        step = stack.enter_context(counter("reading the articles"))
        with collector_paused():
            from runtime.desk.open_desk import open_desk  # half a second, which an answer of the server does without

            settings = load_settings(home, threads=threads)
            desk = stack.enter_context(open_desk(home, settings, one_question=True, progress=step))
        if desk.journal.recovery:
            talk(str(desk.journal.recovery))
        yield desk.ask(request, threading.Event())


def _install_release(place: str, home: Path, root: Path | None, progress: Callable[[str, int, int], None]) -> int:
    from runtime.base.files import read_text
    from runtime.base.settings import load_settings
    from runtime.bundle.releases import install_release  # python-tuf takes a fifth of a second
    from runtime.bundle.trust_record import LIMITS
    from runtime.cli.release_source import open_source

    settings = load_settings(home)
    believed = read_text(root, max_bytes=LIMITS.root_max_length).encode() if root else None
    with open_source(place, settings) as source:
        number, release = install_release(source, home, progress, branch=settings.branch, root=believed)
    if release.first:
        known = ", ".join(keyid[:16] for keyid in release.root_keys)
        talk(f"this branch now believes the root keys {known}: compare them with head office")
    return number


def _clean_up(home: Path) -> None:
    from runtime.base.settings import load_settings
    from runtime.bundle.generations import clean_up, installing
    from runtime.desk.ab_test import read_trial

    settings, trial = load_settings(home), read_trial(home)
    number = trial.experiment.generation if trial else None
    with installing(home, "generations --clean"):
        gone = clean_up(
            home,
            keep=settings.keep_generations,
            max_bytes=settings.keep_generations_mib << 20,
            protected=(number,) if number else (),
        )
    talk(f"deleted: {', '.join(map(str, gone)) or 'none'}")


def _make_index(bundle: Bundle, home: Path) -> None:
    """Make the search index now, so that the first question need not wait for it; a running server makes its own."""
    from runtime.base.home import lock_home
    from runtime.retrieval.retriever import Retriever

    try:
        with lock_home(home, "install"), counter("indexing articles") as step:
            Retriever.open(bundle, home / "index", progress=step).close()
    except BusyError:
        talk("the running server indexes the articles when it is restarted")


def _measure_threads(bundle: Bundle, home: Path) -> None:
    """Find out how many threads the model is fastest with; installing does not fail by it."""
    from runtime.engine.tools.thread_benchmark import measure_threads

    try:
        with counter("measuring threads") as step:
            found = measure_threads(home, bundle.model_path, step)
        talk(f"threads: {found}")
    except EdgedeskError as error:
        talk(f"threads not measured: {error}")


def _warn(bundle: Bundle) -> None:
    """Say whether articles hold sentences that the desk will withhold."""
    from runtime.text.articles import load_articles
    from runtime.understanding.dictation_classifier import load_classifier
    from runtime.understanding.injection_filter import find_suspicious

    if found := find_suspicious(load_articles(bundle.articles_path), load_classifier(bundle).dictated):
        talk(f"{len(found)} sentences of its articles order or dictate and are withheld: edgedesk knowledge check")


def main() -> None:
    """`python -m runtime.cli.main`: the same commands without the front door; how the console starts a server."""
    run_app(app)


if __name__ == "__main__":
    main()
