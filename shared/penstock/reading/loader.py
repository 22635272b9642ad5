"""Reads an app directory into an `App`, and tells everything that is wrong with it at once.

app.yaml first, then all data types, then the names and parameters of all workflows, then the workflows themselves: so
each file may refer to any other. A file that cannot be read at all is one problem, and names it may hold are not
reported as unknown elsewhere.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from penstock.definitions.models import ENVIRONMENTS, App, Workflow, default_limits
from penstock.reading.app_file import AppHead, read_app_file
from penstock.reading.documents import Node, read_documents
from penstock.reading.index import Index
from penstock.reading.lints.exposure import find_exposures
from penstock.reading.lints.listening import find_two_waits
from penstock.reading.lints.python_calls import read_code_steps
from penstock.reading.lints.python_slips import find_slips
from penstock.reading.lints.recursion import CodeSteps, find_open_ends, find_recursions
from penstock.reading.lints.unread import find_empty, find_misplaced, find_unlisted, find_unread
from penstock.reading.lints.unsigned import find_unsigned
from penstock.reading.lints.untyped import find_untyped
from penstock.reading.places import Problem, Report, Severity, without_echoes
from penstock.reading.python_files import read_python
from penstock.reading.type_files import read_types
from penstock.reading.workflow_files import Outline, read_outlines, read_workflow
from penstock.sdk.code import keep_code

__all__ = ["LoadResult", "Problem", "Severity", "load_app", "load_files"]

APP_FILE: Final = "app.yaml"
MAX_FILES: Final = 5_000
_PLACE: Final = re.compile(r"(.*):(\d+)")
_KNOWN_SUFFIXES: Final = frozenset({".yaml", ".yml"})


class LoadResult(NamedTuple):
    """The app, or None if any problem is an error; and all problems, by file and line."""

    app: App | None
    problems: tuple[Problem, ...]


def load_app(directory: Path) -> LoadResult:
    """Reads app.yaml, types/*.yaml and workflows/*.yaml, and imports the Python modules that app.yaml names, again each
    time.

    Never raises for what is written there, or for what cannot be read. A sound app's code is what this process performs
    from now on.
    """
    report = Report(directory=directory)
    files: dict[str, bytes] = {}
    for path in _list_files(directory, report):
        name = path.relative_to(directory).as_posix()
        try:
            files[name] = path.read_bytes()
        except OSError as error:
            report.is_partial = True
            report.problems.append(Problem(name, None, None, f"the file cannot be read ({error.strerror})"))
    if APP_FILE not in files and not any(problem.severity is Severity.ERROR for problem in report.problems):
        reason, hint = f"there is no {APP_FILE} in {directory}", "it names the app, as in `app: shop`"
        if (directory / "app.yml").is_file():
            hint = f"rename app.yml to {APP_FILE}"
        if not directory.is_dir():
            reason, hint = f"there is no directory {directory}", f"name the one that holds {APP_FILE}"
        report.problems.append(Problem(APP_FILE, None, None, reason, hint=hint))
    return _load(files, report, directory.resolve())


def load_files(files: dict[str, bytes]) -> LoadResult:
    """The same for files that are in memory already, by their names relative to the app directory."""
    report = Report()
    if APP_FILE not in files:
        report.problems.append(
            Problem(APP_FILE, None, None, f"there is no {APP_FILE}", hint="it names the app, as in `app: shop`")
        )
    return _load(files, report, None)


def _list_files(directory: Path, report: Report) -> Iterator[Path]:
    found = [directory / APP_FILE] if (directory / APP_FILE).is_file() else []
    report.problems.extend(find_misplaced(directory))
    for folder in ("types", "workflows"):
        for path in sorted((directory / folder).rglob("*")):
            is_hidden = any(
                part.startswith(".") for part in path.relative_to(directory).parts
            )  # so mounts of Kubernetes keep versions
            if is_hidden or not path.is_file():
                continue
            if path.suffix not in _KNOWN_SUFFIXES:
                report.problems.extend(find_unread(directory, path))
                continue
            if path.parent == directory / folder:
                found.append(path)
            else:
                name = path.relative_to(directory).as_posix()
                hint = f"move it into {folder}/"
                report.problems.append(
                    Problem(name, None, None, "files in deeper folders are not read", Severity.WARNING, hint)
                )
    if len(found) > MAX_FILES:
        report.problems.append(
            Problem(APP_FILE, None, None, f"an app may have {MAX_FILES} files, this one has {len(found)}")
        )
        return
    yield from found


def _load(files: dict[str, bytes], report: Report, directory: Path | None) -> LoadResult:
    documents = {name: read_documents(name, data, report) for name, data in sorted(files.items())}
    report.problems.extend(find_empty(documents, report.problems))
    head = _read_head(documents.get(APP_FILE, []), report)
    if directory is not None:
        report.problems.extend(find_unlisted(directory, head.python))
    index = Index(
        types=read_types(_documents_in("types", documents), head.options, report),
        options=head.options,
        sources=frozenset(head.sources),
        connectors=frozenset(head.connectors),
    )
    python = read_python(directory, head.python, index, report)
    outlines = read_outlines(_documents_in("workflows", documents), index, report)
    workflows = {outline.name: read_workflow(outline, index, report) for outline in outlines}
    _report_twins(outlines, python.workflows, report)
    app = App(
        name=head.name,
        admins=head.admins,
        notifications=head.notifications,
        environments=head.environments,
        sources=head.sources,
        connectors=head.connectors,
        email=head.email,
        oidc=head.oidc,
        options=head.options,
        types=index.types,
        workflows=python.workflows | workflows,
        python=tuple(head.python),
    )
    if not report.is_partial:
        code_steps = {} if python.code is None else read_code_steps(python.code)
        report.problems.extend(() if python.code is None else find_slips(python.code, index))
        report.problems.extend(
            (
                *_recursion_problems(app, code_steps),
                *_exposure_problems(app),
                *_unsigned_problems(app),
                *_untyped_problems(app),
                *_two_waits_problems(app),
            )
        )
    problems = tuple(
        sorted(without_echoes(report.problems), key=lambda one: (one.file, one.line or 0, one.column or 0))
    )
    is_sound = all(problem.severity is not Severity.ERROR for problem in problems)
    if is_sound and python.code is not None:
        keep_code(python.code)
    return LoadResult(app if is_sound else None, problems)


def _report_twins(outlines: list[Outline], coded: Mapping[str, Workflow], report: Report) -> None:
    """A workflow in a file and one in Python cannot have the same name."""
    for outline in outlines:
        if (twin := coded.get(outline.name)) is not None:
            message = f"the workflow {outline.name!r} exists twice"
            report.error(outline.table.key_place("workflow"), message, f"it stands in {twin.place} already")


def _read_head(documents: list[Node], report: Report) -> AppHead:
    if not documents:
        if not report.problems:
            report.problems.append(
                Problem(APP_FILE, 1, 1, "the file is empty", hint="it names the app, as in `app: shop`")
            )
        return AppHead("", (), None, {name: default_limits(name) for name in ENVIRONMENTS}, {}, {}, None, None, {}, {})
    for document in documents[1:]:
        report.error(
            document.place, f"{APP_FILE} holds one document, and this is another", "put everything into the first"
        )
    return read_app_file(documents[0], report)


def _documents_in(folder: str, documents: dict[str, list[Node]]) -> Iterable[Node]:
    for name, nodes in documents.items():
        if name.startswith(f"{folder}/"):
            yield from nodes


def _two_waits_problems(app: App) -> Iterator[Problem]:
    for found in find_two_waits(app):
        file, line = _split_place(found.place)
        what = (
            f"{found.first!r} cannot wait for several items at the same time"
            if found.first == found.second
            else f"{found.first!r} and {found.second!r} cannot wait at the same time"
        )
        message = f"{what}: of the branches of a run, only one may wait for a signal or for runs"
        hint = "schedule a workflow for each of them, and wait for the ends of these with one `wait_for_runs`"
        yield Problem(file, line, 1, message, hint=hint)


def _recursion_problems(app: App, code_steps: CodeSteps) -> Iterator[Problem]:
    for recursion in find_recursions(app, code_steps):
        file, line = _split_place(recursion.place)
        if recursion.calls:
            hint = (
                "if that URL is this installation's, the chain continues over it; add `when:` on that path, or "
                "`recursive: true` if it is meant"
            )
            yield Problem(file, line, 1, f"recursion over HTTP: {recursion}", Severity.WARNING, hint)
        elif recursion.is_guarded:
            hint = "if that is meant, say so at the step: `recursion: why it ends` (in Python `# recursion: why`)"
            yield Problem(file, line, 1, f"recursion, under a condition: {recursion}", Severity.WARNING, hint)
        else:
            hint = "add `when:` to a step on that path, or `recursive: true` to a workflow if it is meant"
            message = f"endless recursion: {recursion}; nothing on this path has a condition"
            yield Problem(file, line, 1, message, hint=hint)
    for place in find_open_ends(app, code_steps):
        file, line = _split_place(place)
        hint = "name the workflow by a literal text, or say why it ends: `# recursion: …` on the line"
        yield Problem(file, line, 1, "this may schedule any workflow: its name is computed", Severity.WARNING, hint)


def _exposure_problems(app: App) -> Iterator[Problem]:
    for exposure in find_exposures(app):
        file, line = _split_place(exposure.place)
        message = (
            f"{exposure.workflow!r} may be started by {exposure.origin}, and {exposure.action} finds no "
            f"{exposure.data_type!r} then: its privacy rules let strangers find none"
        )
        hint = "write ignore_privacy: true in the workflow if it is meant to read past them"
        yield Problem(file, line, 1, message, Severity.WARNING, hint)


def _unsigned_problems(app: App) -> Iterator[Problem]:
    for found in find_unsigned(app):
        file, line = _split_place(found.place)
        message = f"the signature of the source {found.source!r} does not cover {found.what} which anybody may change"
        yield Problem(file, line, 1, message, Severity.WARNING, found.hint)


def _untyped_problems(app: App) -> Iterator[Problem]:
    for found in find_untyped(app):
        file, line = _split_place(found.place)
        message = (
            f"no webhook of {found.source!r} starts {found.workflow!r}: the trigger names types, and they have none"
        )
        hint = (
            "leave `types` out, or say at the source where the type is: `type: {payload: type}` or `type: {header: …}`"
        )
        yield Problem(file, line, 1, message, Severity.WARNING, hint)


def _split_place(place: str) -> tuple[str, int | None]:
    match = _PLACE.fullmatch(place)
    return (match[1], int(match[2])) if match else (place, None)
