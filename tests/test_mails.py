"""Blocks for mails: what a word names, and a kernel's state."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from depth import deep_unless
from known_records import records, reviewed

from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.commands.state_mail import state_mail
from percpu_proofs.counterexample.mail import mail
from percpu_proofs.counterexample.of_model import of_schedule
from percpu_proofs.explain.lookup import explain
from percpu_proofs.explain.mail import explain_mail
from percpu_proofs.explore.rerun import broken_by
from percpu_proofs.explore.searches import searches
from percpu_proofs.explore.token import Token, compact, examples, from_record
from percpu_proofs.live.subject import SubjectKind, read_subject
from percpu_proofs.live.verdicts import BROKEN, KNOWN, KernelStateJudge, Verdict
from percpu_proofs.review.job import ReviewExample
from percpu_proofs.review.matrix import Cell
from percpu_proofs.show.mail import LINES, WIDTH, block, command, listing, plain, quoted
from percpu_reference.variants import DEFAULT, MERGED, VARIANTS
from percpu_spec.catalogue import clauses, findings

STATES = sorted(data.folder("states").glob("*.txt.gz"))
FAILED = "percpu: allocation failed, size=32 align=16 atomic=1, alloc from reserved chunk failed"
WORDS = [*clauses(), *findings(), "pcpu_isolate_chunk", "CreateChunk", "RELEASE", FAILED]


def fits(lines: list[str]) -> str:
    assert 3 < len(lines) <= LINES
    assert all(line.isascii() and line == line.rstrip() for line in lines)
    assert all(len(line) <= WIDTH for line in lines), lines
    return " ".join(" ".join(lines).split())


def test_what_every_word_names_fits() -> None:
    for word in WORDS:
        said = fits(explain_mail(word, explain(word)))
        if word in clauses():
            stated = clauses()[word]
            assert " ".join(stated.statement.split()[:6]) in said and "Formal: " in said
            assert "Kernel: " in said or "more parts" in said
            assert said.endswith(f"percpu-spec explain {word}")


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("Searched: every list of up to 4 operations breaks it; the last 2 at once with the work, "
         "with up to 1 preemption; requests of 28672, 4096, 4096 A bytes and as many frees of them "
         "and what else is there to be said of them where there is a lot",
         "with up to 1 preemption"),
        ("Searched: " + "one thing after the other, " * 9, "one thing after the other"),
        ("word " * 90, "word"),
    ],
)  # fmt: skip
def test_what_is_left_out_of_a_sentence_are_whole_clauses(text: str, last: str) -> None:
    lines = block(text, 3, "see there", "  ")
    assert len(lines) <= 3 and lines[-2].endswith(last), lines
    left = re.fullmatch(r"  \((\d+) more words: see there\)", lines[-1])
    assert left and int(left[1]) == len(text.split()) - len(" ".join(lines[:-1]).split())


def test_what_is_long_leaves_room_for_the_counterexample() -> None:
    long = {f"part {n}": "word " * 120 for n in range(9)}
    lines = explain_mail("HINT-5", {"id": "HINT-5", "title": "A title", **long})
    assert "more parts: see the last line" in fits(lines) and "breaks it in 3" in " ".join(lines)


def test_a_failure_is_told_in_sentences_and_asked_for_in_full() -> None:
    lines = explain_mail(FAILED, explain(FAILED))
    said = fits(lines)
    assert "atomic: it may not sleep. " in said and ".." not in said.replace("data..percpu", "")
    command = lines[lines.index("percpu-spec explain \\") :]
    asked = "".join(line.removesuffix("\\") for line in command)
    assert shlex.split(asked) == ["percpu-spec", "explain", FAILED]
    assert "Mended in: " in fits(explain_mail("L1", explain("L1")))


@pytest.mark.parametrize("text", ["L1", "a b", "it's " * 40, "x" * 200, "one\ntwo " * 30, "'" * 99])
def test_a_quoted_command_is_what_the_shell_takes(text: str) -> None:
    lines = quoted("percpu-spec explain ", text)
    assert all(len(line) <= WIDTH for line in lines)
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == ["percpu-spec", "explain", text]


def test_a_clause_comes_with_the_kernels_shortest_counterexample() -> None:
    said = CliRunner().invoke(main, ["explain", "hint-5", "--mail"]).output
    assert "linux_7_1 breaks it in 3 operations: allocate 28656 bytes (a)" in said
    token = next(line for line in said.splitlines() if "percpu-spec replay" in line).split()[-1]
    assert CliRunner().invoke(main, ["replay", token, "--mail"]).exit_code == 0
    assert CliRunner().invoke(main, ["explain", "--mail"]).exit_code == 2


def test_who_breaks_a_clause_by_what_is_told() -> None:
    said = fits(explain_mail("RCL-3", explain("RCL-3")))
    of_findings = said.partition("Broken by: ")[2].partition(" Contracts: ")[0]
    alike = next(part for part in of_findings.split("; ") if "R1, R2" in part)
    assert "linux_5_14 (5.14 to 5.16)" in alike and "linux_7_1 (7.1)" in alike
    assert alike.endswith("R1, R2, 6 operations of compiled code") and "rfc_1_rev" not in alike
    assert "rfc_1_reviewed: a sidelined chunk keeps" in of_findings
    said = fits(explain_mail("HINT-5", explain("HINT-5")))
    assert "linux_mm (linux-mm, May 2026): L2, 4 operations of compiled code" in said
    said = fits(explain_mail("HINT-4", explain("HINT-4")))
    assert "not by linux_mm" in said
    assert "Broken by: rfc_1, rfc_series: a free lists" in fits(
        explain_mail("ISO-1", explain("ISO-1"))
    )
    assert "f 3" not in said and "beside the work: free b" in fits(
        explain_mail("ISO-1", explain("ISO-1"))
    )


@pytest.mark.deep
def test_the_record_counts_as_the_review_does() -> None:
    def fewest(lines: list[str]) -> dict[tuple[str, str], int]:
        found: dict[tuple[str, str], int] = {}
        for said in map(json.loads, lines):
            operations = "; ".join((said.get("setup", ""), said.get("actors", ""))).split("; ")
            count = sum(operation not in ("b", "") for operation in operations)
            place = said["variant"], said["clause"]
            found[place] = min(count, found.get(place, count))
        return found

    known = (data.folder("counterexamples") / "known.jsonl").read_text("utf-8").splitlines()
    assert fewest(known) == fewest(list(records(reviewed())))


def test_records_say_what_found_them() -> None:
    assert all(token.search in searches() for token in examples())
    assert all(token == compact(token) for token in examples())
    r1 = next(t for t in examples() if t.clause == "RCL-3" and t.search == "reduction")
    assert from_record(replace(r1, search="")).search == "reduction"
    found = [ReviewExample.of("", token, shortest=False) for token in examples()[:9]]
    cell = Cell(DEFAULT, "RCL-3", "violated", "violated", example=found[0])
    cell.mechanisms = {"R1": found[1], "R2": found[0], "L4": None}
    lines = list(records([cell]))
    assert len(lines) == 2 and json.loads(lines[0])["search"] == examples()[0].search


def test_known_counterexamples_cover_what_is_declared() -> None:
    known = {(token.variant, token.clause) for token in examples()}
    for name in (DEFAULT, MERGED, *VARIANTS):
        if name != DEFAULT:
            assert {clause for v, clause in known if v == name} == set(VARIANTS[name].EXPECTED)
    assert sum(token.clause == "RCL-3" and token.variant == DEFAULT for token in examples()) == 2


@pytest.mark.parametrize(
    "token",
    deep_unless(lambda token: token.clause in ("POP-2", "FLT-1", "HINT-3"), examples()),
    ids=lambda token: f"{token.variant} {token.clause}",
)
def test_a_known_counterexample_still_breaks_its_clause(token: Token) -> None:
    assert token.clause in broken_by(token)
    c = of_schedule(token)
    fits(mail(c, "percpu-spec replay NAME@FILE"))


@pytest.mark.parametrize("path", STATES, ids=lambda path: path.name)
def test_a_state_fits(path: Path) -> None:
    done = CliRunner().invoke(main, ["state", str(path), "--mail"])
    lines = done.output.splitlines()
    assert done.exit_code == 0 and lines[-1].endswith(path.name)
    said = fits(lines)
    assert "Percpu " in said and "HIGH 4" in said
    state = read_subject(str(path), SubjectKind.STATE, None, owners=False)
    verdicts = KernelStateJudge().verdicts(state)
    known = [v.clause for v in verdicts.values() if v.verdict == KNOWN]
    assert all(f"{clause}, " in said for clause in known)


def test_all_that_is_broken_is_told_or_counted() -> None:
    found = read_subject(str(STATES[0]), SubjectKind.STATE, None, owners=False)
    wrong = tuple(f"chunk {n}: something is wrong of it, in words" for n in range(9))
    verdicts = {clause: Verdict(clause, BROKEN, wrong) for clause in clauses()}
    said = fits(state_mail(found, verdicts, "core", ""))
    told = sum(f"{clause}, " in said for clause in clauses())
    assert f"({len(clauses()) - told} more clauses that do not hold" in said and told >= 2
    assert "To do: what is broken is not known of this release" in said
    few = {c: v for c, v in verdicts.items() if c == "FLT-1"}
    assert "more clauses" not in fits(state_mail(found, few, "core", ""))
    sound = {"FLT-1": replace(few["FLT-1"], verdict="holds", found=())}
    assert "To do: nothing." in fits(state_mail(found, sound, "core", ""))


def test_texts_are_counted_where_they_are_cut() -> None:
    assert block("word " * 40, 2, "there")[-1] == "(25 more words: there)"
    assert listing([["a"], ["b", "c"], ["d"]], 3, "{} more") == ["a", "2 more"]
    assert listing([["a"], ["b", "c"]], 3, "{} more") == ["a", "b", "c"]
    assert plain(["a \u2014 \u00e9 "]) == ["a - \\xe9"]
    long = "percpu-spec replay " + " ".join(["--patch patch-with-a-name"] * 4)
    lines = command(long)
    assert all(len(line) <= WIDTH for line in lines) and len(lines) > 2
    assert " ".join(line.removesuffix(" \\") for line in lines[1:]) == long
