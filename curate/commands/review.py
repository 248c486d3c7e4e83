"""``curate review``: rounds of annotation, refinement and inspection in Label Studio."""

from __future__ import annotations

import os
from pathlib import Path

import click

from curate.commands.options import (
    check_apart,
    check_new_file,
    check_roots,
    dataset_argument,
    output_options,
    progress,
    report_options,
    root_option,
    show_result,
    table,
)
from curate.commands.review_options import check_same, listed, material_of, server_of, server_options
from curate.errors import UsageError

review_argument = click.argument("review", type=click.Path(path_type=Path), metavar="REVIEW")


@click.group("review")
def command() -> None:
    """Annotate, refine and inspect in Label Studio, by a plan that says who gets what.

    \b
      curate review serve --root images
      curate review init cyclists --plan consensus --annotator p1 --annotator p2 -o rounds
      curate review join rounds p1 p1@example.org
      curate review push rounds
      curate review pull rounds
      curate review finish rounds -o reviewed

    The folder of the review is the record; the server is a work surface, on which everybody may do everything. Push and
    pull may be killed and repeated at any time.
    """


@command.command("serve", short_help="Start a Label Studio of your own here.")
@click.option(
    "--root", type=click.Path(path_type=Path), metavar="DIR", help="Folder above those that the images lie in."
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("label-studio"),
    show_default=True,
    metavar="DIR",
    help="Database and secrets of the server, for its owner only.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port on loopback; a free one if not given.")
@click.option("--stop", "end", is_flag=True, help="End the server that runs on the folder.")
@report_options
def serve(root: Path | None, data: Path, port: int | None, end: bool, as_json: bool, quiet: bool) -> int:
    """Start a Label Studio of your own on this machine, in its own environment.

    The first time it is installed (0.7 GB). It listens on loopback only. The address, and how to log in, are printed;
    they also stand in server.json of the folder. To run another command's server, give that one --url instead.
    """
    from curate.review import server

    if end:
        if root is not None or port is not None:
            raise UsageError("--stop", "is given together with --root or --port", "expected it with --data alone")
        ended = server.stop(data)
        show_result(
            {"stopped": ended}, "stopped" if ended else f"no server runs on {data}", as_json=as_json, quiet=quiet
        )
        return 0
    if root is None:
        raise UsageError("--root", "is missing", "expected the folder above those that the images lie in")
    running = server.start(server.install(server.home()), data, root, port)
    result = {"url": running.url, "email": running.email, "data": str(data), "root": running.root, "pid": running.pid}
    text = f"Label Studio {server.VERSION} runs at {running.url}\n"
    text += f"log in as {running.email}, password in {data}/server.json"
    show_result(result, text, as_json=as_json, quiet=quiet)
    return 0


@command.command("init", short_help="Make the folder of a new review.")
@dataset_argument
@click.option("--plan", required=True, metavar="NAME|FILE", help="A preset, or a plan.yaml.")
@click.option("--annotator", "annotators", multiple=True, metavar="NAME", help="A pseudonym; for a preset.")
@click.option("--class", "classes", multiple=True, metavar="CLASS", help="Only these classes; for a preset.")
@click.option(
    "--only",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Only these images: an id per line, or a CSV with a column 'image'.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="For random shares; for a preset.")
@click.option(
    "--sample", type=click.IntRange(min=0), metavar="N", help="Presumed negatives per class; for preset audit."
)
@click.option(
    "--ranked", type=click.IntRange(min=0), metavar="N", help="And the N highest in --results; for preset audit."
)
@click.option(
    "--results",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Ranked lists, as evaluate takes them: misses are sought among their highest presumed negatives.",
)
@output_options("the folder of the review")
@report_options
def init(
    dataset: Path,
    plan: str,
    annotators: tuple[str, ...],
    classes: tuple[str, ...],
    only: Path | None,
    seed: int,
    sample: int | None,
    ranked: int | None,
    results: tuple[Path, ...],
    output: Path,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Make the folder of a new review of the dataset DS.

    Presets: pixel-retrieval (annotate, refine and inspect, refine and inspect, three people per pair), consensus (each
    image by everybody, blind), quick (inspect a sample of the pre-labels), ties (inspect the images with what an
    earlier review left undecided), audit (a random sample of presumed negatives, class by class, and those that
    --results rank highest: how many positives were missed).

    A review is a record: it is never overwritten. The same plan over the same dataset is the same review, so that a
    lost folder is made again and pulled; for a second, independent one change the seed.
    """
    from curate import store
    from curate.regular import read_regular
    from curate.review import folder
    from curate.review import plan as plans

    if overwrite:
        raise UsageError("--overwrite", "a review is a record", "expected a new folder", "remove the old one yourself")
    counts = {"sample": sample, "ranked": ranked}
    asked = {name: count for name, count in counts.items() if count is not None}
    if asked and plan != "audit":
        raise UsageError("--sample, --ranked", "are for --plan audit", "expected them in the plan, or nowhere")
    if plan in plans.PRESETS:
        made = plans.preset(plan, annotators, classes=list(classes), seed=seed)
        if asked:
            made = plans.with_sample(made, **asked)
    elif Path(plan).is_file():
        if annotators or classes or seed:
            raise UsageError("--plan", "is a file", "expected its annotators, classes and seed in it")
        made = plans.read_plan(read_regular(Path(plan)), plan)
    else:
        raise UsageError(f"--plan {plan}", "neither file nor preset", f"expected one of {', '.join(plans.PRESETS)}")
    if only is not None:
        made = plans.with_images(made, plans.read_images(read_regular(only), only))
    if results and not made.audits:
        raise UsageError("--results", "are for an audit", "expected a plan with a round of kind audit")
    opened = store.read(dataset)
    ranks = None
    if results:
        from curate.evaluate.classes import ranks_by_class

        ranks = ranks_by_class(opened, results, made.classes)
    review = folder.init(opened, str(dataset.resolve()), made, output, ranks)
    result = {"output": str(output), "items": len(review.items), "rounds": [one.name for one in made.rounds]}
    text = f"{len(review.items):,} items, rounds {', '.join(result['rounds'])} -> {output}"  # type: ignore[arg-type]
    show_result(result, text, as_json=as_json, quiet=quiet)
    return 0


@command.command("join", short_help="Give a person of the plan an account.")
@review_argument
@click.argument("person")
@click.argument("email")
@server_options
@report_options
def join(
    review: Path,
    person: str,
    email: str,
    data: Path | None,
    url: str | None,
    images: Path | None,
    timeout: float,
    as_json: bool,
    quiet: bool,
) -> int:
    """Give PERSON, a pseudonym of the plan, the account EMAIL on the server; it is made if it is not there.

    The password of a new account comes from CURATE_LABEL_STUDIO_PASSWORD; without it, one is made and printed once, so
    that -q is refused.
    """
    import secrets

    from curate.errors import ReviewError
    from curate.review import api as apis
    from curate.review import folder

    opened = folder.read(review)
    if person not in opened.plan.annotators:
        raise UsageError(person, "not in the plan", f"expected one of {', '.join(opened.plan.annotators)}")
    folder.check_address(opened.people, person, email)
    api, _ = server_of(data, url, images, timeout)
    account = apis.account(api, email)
    made = None
    if account is None:
        given = os.environ.get("CURATE_LABEL_STUDIO_PASSWORD")
        if not given and quiet and not as_json:
            hint = "set CURATE_LABEL_STUDIO_PASSWORD, or leave -q out"
            raise UsageError("-q", f"would hide the password of the new account {email}", hint=hint)
        made = None if given else secrets.token_urlsafe(12)
        apis.join(api, email, given or str(made))
        account = apis.account(api, email)
        if account is None:
            raise ReviewError(api.url, f"has no account {email}", "expected the one just made", "look at its log")
    folder.check_account(opened.events, person, account.name)
    folder.write_people(review, opened.people | {person: folder.Person(user=account.user, email=email)})
    text, result = f"{person} has account {account.user}", {"person": person, "user": account.user}
    if made is not None:
        text += f"; password, shown this once: {made}"
        result["password"] = made
    show_result(result, text, as_json=as_json, quiet=quiet)
    return 0


@command.command("push", short_help="Put all open work on the server.")
@review_argument
@root_option
@server_options
@report_options
def push(
    review: Path,
    roots: dict[str, str],
    data: Path | None,
    url: str | None,
    images: Path | None,
    timeout: float,
    as_json: bool,
    quiet: bool,
) -> int:
    """Put all open work on the server: one project per round and person. Nothing is sent twice."""
    from curate.review import folder, rounds

    opened = folder.read(review)
    api, root = server_of(data, url, images, timeout)
    if root is None:
        raise UsageError("--images", "is missing", "expected the server's folder of local files")
    with progress("push", quiet=quiet) as tell:
        done = rounds.push(opened, api, material_of(opened, roots), root, progress=tell)
    lacking = rounds.missing_people(opened.state, opened.people)
    text = f"{done.tasks:,} tasks sent, {done.there:,} were there, in {done.projects:,} projects"
    if lacking:
        text += f"\nwithout an account, so that authorship is not checked: {', '.join(lacking)} (curate review join)"
    show_result(done._asdict(), text, as_json=as_json, quiet=quiet)
    return 0


@command.command("pull", short_help="Bring home what people did.")
@review_argument
@root_option
@server_options
@report_options
def pull(
    review: Path,
    roots: dict[str, str],
    data: Path | None,
    url: str | None,
    images: Path | None,
    timeout: float,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write into the review's log what people did. What changed under somebody's hand is reported and not taken."""
    from curate.review import folder, report, rounds

    opened = folder.read(review)
    api, _ = server_of(data, url, images, timeout)
    done = rounds.pull(opened, api, material_of(opened, roots))
    lines = [report.report_line(event) for event in folder.read(review).state.reports]
    result = {"events": done.new, "reports": lines, "problems": [one.message for one in done.problems]}
    text = "\n".join([f"{done.new:,} new events", *listed(lines)])
    show_result(result, text, as_json=as_json, quiet=quiet)
    return 0


@command.command("take", short_help="Accept what was only reported.")
@review_argument
@click.argument("annotation")
@report_options
def take(review: Path, annotation: str, as_json: bool, quiet: bool) -> int:
    """Accept the newest state of an ANNOTATION that was reported: an edit, or another's work."""
    from curate.review import folder, log

    opened = folder.read(review)
    states = [event for event in opened.events if event.kind == "answer" and event.annotation == annotation]
    if not states:
        raise UsageError(annotation, "not in the log", "expected an annotation as 'review status' names it")
    newest = max(states, key=lambda event: event.revision or "")
    event = log.Event(key=f"take {newest.key}", kind="take", annotation=annotation, revision=newest.revision)
    log.append(opened.log, [event])
    show_result({"taken": newest.key}, f"taken: {newest.key}", as_json=as_json, quiet=quiet)
    return 0


@command.command("status", short_help="What is open, done, skipped, rejected.")
@review_argument
@report_options
def status(review: Path, as_json: bool, quiet: bool) -> int:
    """Per round and person what is open, done, skipped and rejected, and the pace; what people could not agree on, and
    what was only reported.
    """
    from curate.commands import review_words
    from curate.review import folder, report

    opened = folder.read(review)
    found = report.status(opened.plan, opened.state)
    rows: list[tuple[object, ...]] = [
        (
            row.round,
            row.person,
            row.open,
            row.done,
            row.skipped,
            row.rejected,
            "" if row.seconds is None else f"{row.seconds:.0f} s",
            "" if row.hours_left is None else f"{row.hours_left:.1f} h",
        )
        for row in found.rows
    ]
    head = ("round", "person", "open", "done", "skipped", "rejected", "median", "left")
    lines = [table(rows, head), "items: " + ", ".join(f"{n:,} {kind}" for kind, n in found.items.items())]
    lines += review_words.changes(found.changes)
    lines += listed([one.line for one in found.ties])
    if found.ties:
        lines.append(
            f"{len(found.ties):,} objects undecided: 'review finish' keeps them as proposals and says how to go on"
        )
    show_result(found, "\n".join([*lines, *listed(list(found.reports))]), as_json=as_json, quiet=quiet)
    return 0


@command.command("agreement", short_help="How well people agree.")
@review_argument
@click.option("--all", "every", is_flag=True, help="Also what is seldom asked for: sweep, kappas, STAPLE, drift, ...")
@click.option(
    "--gold",
    type=click.Path(path_type=Path),
    metavar="DS",
    help="A dataset with the right labels of some of these images: precision and recall of each person.",
)
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Write a page that shows disagreements.")
@click.option("--overwrite", is_flag=True, help="Replace an existing --html file.")
@root_option
@report_options
def agreement(
    review: Path,
    every: bool,
    gold: Path | None,
    html_file: Path | None,
    overwrite: bool,
    roots: dict[str, str],
    as_json: bool,
    quiet: bool,
) -> int:
    """How well people agree, where several saw the same image and not one another's work.

    \b
      curate review agreement rounds
      curate review agreement rounds --html agreement.html
      curate review agreement rounds --gold checked-by-the-lead

    By people, annotator, class and size, with 95 % intervals over images: Krippendorff's alpha with the distance
    1 - IoU, F1 at IoU 0.50 to 0.95, and the F-measure of boundaries. A round that starts from another's work says
    nothing of agreement: of it stands what it changed. An audit's rates of missed positives stand here too.

    With --gold, images whose right labels you have, strewn among the others, tell how well each person works, and from
    which task on worse.
    """
    import msgspec

    from curate import store
    from curate.commands import review_words
    from curate.review import folder, measures
    from curate.review.gold import against

    opened = folder.read(review)
    if html_file is not None:
        check_new_file(html_file, overwrite)
    elif roots:
        raise UsageError("--root", "is for the pictures of a page", "expected --html beside it")
    found = measures.measure(opened, every=every)
    if gold is not None:
        rows = against(opened.plan, opened.state, opened.items, store.read(gold))
        found = msgspec.structs.replace(found, gold=rows)
    if html_file is not None:
        from curate.atomic import atomic_file
        from curate.pages.agreement import draw_page

        dataset = store.read(opened.about.dataset)
        check_same(opened, dataset.fingerprint())
        check_roots(roots, dataset.table("images")["source"].unique().to_pylist())
        page = draw_page(opened, found, dataset, roots=roots)
        with atomic_file(html_file, overwrite=overwrite) as stream:
            stream.write(page.encode("utf-8", "backslashreplace"))
    waiting = [opened.plan.rounds[i].name for i in measures.copied(opened.plan)]
    answered = any(event.kind == "answer" for event in opened.events)
    text = review_words.agreement(found, waiting, answered=answered)
    show_result(found, text, as_json=as_json, quiet=quiet)
    return 0


@command.command("finish", short_help="Accepted work becomes truth.")
@review_argument
@output_options("the reviewed dataset")
@click.option("--partly", is_flag=True, help="Also while items are open: their rows stay as they are.")
@click.option("--lot", is_flag=True, help="Also the pre-labels that nobody looked at, where their sample was accepted.")
@report_options
def finish(review: Path, output: Path, overwrite: bool, partly: bool, lot: bool, as_json: bool, quiet: bool) -> int:
    """Accepted work becomes truth, with its origin, round, annotators and votes; coverage says who looked where.

    What the figures are, of agreement, of inspected lots and of an audit, stands in the lineage of the new dataset, and
    a release prints it. A lot is accepted where even the upper Wilson bound of its sample's share of defects is within
    the plan's target.
    """
    from curate import store
    from curate.errors import ReviewError
    from curate.review import finish as finishing
    from curate.review import folder

    opened = folder.read(review)
    store.ready_to_write(output, overwrite=overwrite, inputs=[Path(opened.about.dataset)])
    open_items = sum(standing.status == "open" for standing in opened.state.items.values())
    if open_items and not partly:
        raise ReviewError(review, f"{open_items} items are open", hint="finish the rounds, or give --partly")
    dataset = store.read(opened.about.dataset)
    check_same(opened, dataset.fingerprint())
    names = opened.plan.classes or tuple(dataset.table("categories")["name"].to_pylist())
    done = finishing.finish(dataset, opened, names, name=output.name, lot=lot)
    manifest = store.write(done.dataset, output, overwrite=overwrite)
    result = {"output": str(output), "fingerprint": manifest.fingerprint, **done._asdict()}
    del result["dataset"]
    text = (
        f"{done.accepted:,} items accepted: {done.truth:,} rows are truth, {done.rejected:,} replaced, "
        f"{done.ties:,} undecided -> {output}"
    )
    if done.ties:
        text += f"\nto settle what is undecided: curate review init {output} --plan ties --annotator NAME -o NEW"
    if done.lot:
        text += f"\n{done.lot:,} rows of the accepted lot are truth, though nobody looked at them"
    if done.left:
        text += f"\n{done.left:,} items were left as they are"
    text = "\n".join([text, *done.figures])
    show_result(result, text, as_json=as_json, quiet=quiet)
    return 0


@command.command("suspects", short_help="Label errors that a detector points at.")
@dataset_argument
@click.option("--queue", "queue_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the queue (CSV).")
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Write a page with pictures.")
@click.option("--overwrite", is_flag=True, help="Replace existing --queue and --html files.")
@root_option
@report_options
def suspects(
    dataset: Path,
    queue_file: Path | None,
    html_file: Path | None,
    overwrite: bool,
    roots: dict[str, str],
    as_json: bool,
    quiet: bool,
) -> int:
    """Labels of the dataset DS that a detector's proposals speak against, the surest first; nothing is changed.

    \b
      curate prelabel idd --detector owlv2 --weights owlv2-base --text rickshaw --segmenter ellipse -o found
      curate review suspects found --queue queue.csv --html suspects.html
      curate review init found --plan quick --annotator p1 --only queue.csv -o rounds

    missing: a sure find (0.5, and above the mean of the detector's hits) with no annotation near it, where the class is
    labelled exhaustively. swapped: a very sure find (0.9) on an annotation of another class. misplaced: one that
    overlaps an annotation of its class by less than half, which nothing hits better.
    """
    from collections import Counter

    from curate import store
    from curate.atomic import atomic_file
    from curate.review import suspects as suspecting

    for file in (queue_file, html_file):
        if file is not None:
            check_new_file(file, overwrite, dataset)
    check_apart({"--queue": queue_file, "--html": html_file})
    opened = store.read(dataset)
    check_roots(roots, opened.table("images")["source"].unique().to_pylist())
    found = suspecting.suspects(opened)
    if queue_file is not None:
        with atomic_file(queue_file, overwrite=overwrite) as stream:
            stream.write(suspecting.queue_csv(found.suspects))
    if html_file is not None:
        from curate.pages.suspects import draw_page

        with atomic_file(html_file, overwrite=overwrite) as stream:
            stream.write(draw_page(opened, found, roots=roots).encode("utf-8", "backslashreplace"))
    number = Counter((one.proposed, one.kind) for one in found.suspects)
    classes = sorted({name for name, _ in number})
    rows: list[tuple[object, ...]] = [
        (name, *(number[name, kind] or "" for kind in suspecting.KINDS)) for name in classes
    ]
    lines = [table(rows, ("found", *suspecting.KINDS))] if rows else []
    lines.append(f"{len(found.suspects):,} labels to look at, by {found.finds:,} finds")
    if found.unjudged:
        lines.append(f"{found.unjudged:,} more finds are of classes that nobody labelled throughout there")
    result = {"finds": found.finds, "unjudged": found.unjudged, "suspects": found.suspects}
    show_result(result, "\n".join(lines), as_json=as_json, quiet=quiet)
    return 0
