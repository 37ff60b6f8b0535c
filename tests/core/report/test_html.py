from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eagbench.errors import UserError
from eagbench.report import wording
from eagbench.report.figures.estimates import REFERENCE
from eagbench.report.figures.svg import COLOURS
from eagbench.report.html import write_report
from eagbench.runs.reader import RunFolder

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Tags with their attributes, the text, and whether tags are balanced."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "script":
            self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


def page_of(simulated_run, folder, **changes) -> Page:
    return Page(write_report(RunFolder(simulated_run.write(folder, **changes))).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(simulated_run, tmp_path_factory) -> Page:
    return page_of(simulated_run, tmp_path_factory.mktemp("run") / "run")


def captions(page: Page, kind: str) -> list[str]:
    return re.findall(rf"{kind} (S?\d+)\.", page.words)


def figure_names(simulated_run, folder) -> set[str]:
    write_report(RunFolder(simulated_run.write(folder / "run")))
    return {path.name for path in (folder / "run" / "figures").iterdir()}


def test_the_page_is_one_file_that_loads_nothing(page, simulated_run, tmp_path):
    assert not page.open  # every tag is closed
    assert not [tag for tag, _ in page.tags if tag in {"link", "img", "iframe", "object"}]
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]
    addresses = [value for _, attributes in page.tags for name, value in attributes.items() if name in {"src", "href"}]
    assert addresses
    here = {value[1:] for value in addresses if value.startswith("#")}
    assert here <= {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    # Nothing else but the files of its figures, which a reader may open.
    assert {value for value in addresses if value[1:] not in here} == {
        f"figures/{name}" for name in figure_names(simulated_run, tmp_path)
    }


def test_its_content_security_policy_allows_its_own_script_and_no_other(simulated_run, tmp_path):
    text = write_report(RunFolder(simulated_run.write(tmp_path / "run"))).read_text(encoding="utf-8")
    [script] = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'\">" in text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|fetch\(|XMLHttp", script)


def test_every_colour_of_the_figures_has_a_dark_one(simulated_run, tmp_path):
    text = write_report(RunFolder(simulated_run.write(tmp_path / "run"))).read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"(--c\d): (#\w+);", text[text.index(start) :][:900]))
        for start in ("--ink", "color-scheme: dark")
    )
    used = {colour.upper() for colour in re.findall(r'(?:fill|stroke)="(#\w+)"', text[text.index("<main") :])}
    assert used <= {*COLOURS, REFERENCE}
    for colour in (*COLOURS, REFERENCE):
        for attribute in ("fill", "stroke"):
            [name] = re.findall(rf'svg \[{attribute}="{colour}"\] {{ {attribute}: var\((--c\d)\); }}', text)
            assert int(light[name].ljust(7, "3")[1:], 16) == int(colour[1:], 16)  # printed as drawn
            assert dark[name] != light[name]


def test_the_same_run_gives_the_same_bytes(simulated_run, tmp_path):
    folder = simulated_run.write(tmp_path / "run")
    first = write_report(RunFolder(folder)).read_bytes()
    assert write_report(RunFolder(folder)).read_bytes() == first


def test_synthetic_is_stamped_on_the_page_and_on_every_caption(page, simulated_run, tmp_path):
    assert "SYNTHETIC DATA Every number on this page comes from generated records" in page.words
    numbered = len(captions(page, "Table")) + len(captions(page, "Figure"))
    assert numbered > 10
    assert page.words.count("SYNTHETIC DATA.") == numbered + 1  # and beside the answer
    real = page_of(simulated_run, tmp_path / "real", synthetic=False)
    assert "SYNTHETIC" not in real.words


def test_limit_and_profile_are_stamped_on_every_caption(simulated_run, tmp_path):
    page = page_of(simulated_run, tmp_path / "run", synthetic=False, limit=150, profile="quick")
    numbered = len(captions(page, "Table")) + len(captions(page, "Figure"))
    assert page.words.count("LIMITED TO 150 PATIENTS. PROFILE quick.") == numbered + 1
    assert "it is a trial, not a result" in page.words


def test_tables_and_figures_are_numbered_in_order(page):
    for kind in ("Table", "Figure"):
        plain = [int(n) for n in captions(page, kind) if not n.startswith("S")]
        assert plain == list(range(1, len(plain) + 1))
        assert plain
    folded = [int(n[1:]) for n in captions(page, "Table") if n.startswith("S")]
    assert folded == list(range(1, len(folded) + 1))


def test_the_main_table_shows_the_numbers_of_results_csv(simulated_run, tmp_path):
    folder = simulated_run.write(tmp_path / "run")
    page = Page(write_report(RunFolder(folder)).read_text(encoding="utf-8"))
    with (folder / "results.csv").open(newline="") as stream:
        means = [row for row in csv.DictReader(stream) if (row["seed"], row["condition"]) == ("mean", "clean")]
    rows = [row for row in means if row["metric"] in {"auroc", "auprc", "brier", "ece"}]
    assert len(rows) == 7 * 4
    main = page.words[page.words.index("Table 1.") : page.words.index("Figure 1.")]
    for row in rows:
        low, high = (f"{float(row[name]):.3f}" for name in ("ci_low", "ci_high"))
        assert f"{float(row['value']):.3f} {low}\u2013{high}" in main
    assert "oracle reference" in main


def test_the_opening_says_what_on_what_and_how_many(page, simulated_run):
    opening = page.words[: page.words.index("Performance on unchanged records")]
    assert "first 48 hours" in opening
    assert "die before leaving the hospital" in opening
    assert "Six methods, each with two random seeds, were evaluated" in opening
    assert "three perturbations" in opening
    assert f"{int(simulated_run.label.sum())}" in opening
    assert "does not test that difference" in opening


def test_the_two_feature_orders_never_share_a_figure(page):
    drawings = [
        attributes["aria-label"] for tag, attributes in page.tags if tag == "svg" and "aria-label" in attributes
    ]
    over = [label for label in drawings if "severity of" in label]
    assert sorted(label.split("severity of ")[1] for label in over) == [
        "feature_order", "feature_order_positional", "missing_values",
    ]  # fmt: skip
    positional = page.words[page.words.index("feature_order_positional. The same change of order") :]
    assert "Without a number here" in positional[: positional.index("Table")]


def test_axis_caption_and_table_say_what_a_severity_counts(page, simulated_run, tmp_path):
    assert "by severity." in page.words  # a run that does not say
    folder = simulated_run.write(tmp_path / "run")
    manifest = json.loads((folder / "manifest.json").read_text())
    for condition in manifest["conditions"]:
        if condition["name"] == "missing_values":
            condition["severity_unit"] = "share of the measurements"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    words = Page(write_report(RunFolder(folder)).read_text(encoding="utf-8")).words
    assert words.count("severity: share of the measurements ") == 2  # below the axes of both metrics
    assert "values is removed. Severity: share of the measurements. Mean over" in words
    assert "AUROC ↑ under missing_values, by severity (share of the measurements)." in words
    assert "AUROC ↑ under feature_order, by severity." in words


def test_missing_cells_are_named_with_their_reasons(page):
    section = page.words[page.words.rindex("Cells without a number") : page.words.rindex("How MIMIC-IV")]
    assert "the context of 2,048 tokens is too short for 3 cases" in section
    assert "missing_values 0.5 0, 1" in section
    assert "feature_order_positional means nothing for a method that reads text" in section
    assert "Citation overlap logistic_regression, lightgbm, concare" in section


def test_unparsed_answers_stand_beside_both_other_treatments(page):
    section = page.words[page.words.rindex("Answers that could not be read. Filled") :]
    assert "parsed only worst case" in section
    assert "prompt_think_answer" in section
    assert "lightgbm" not in section[: section.index("Cells without a number")]


def test_the_data_section_counts_what_was_left_out(page):
    section = page.words[page.words.rindex("How MIMIC-IV") :]
    assert "Left out: stay shorter than 48 h 412 cases" in section
    assert "Patients in the source 2,100 patients" in section


def test_the_data_section_says_when_results_were_known(page):
    section = page.words[page.words.rindex("When the results of 2 laboratory tests were known") :]
    dash = wording.EN_DASH
    assert "Heart rate 1,200 31 31 4 0.7 2.1 5.5" in section
    assert f"Systolic blood pressure 2 0 0 2 {dash} {dash} {dash}" in section
    assert f"All 1,202 31 31 6 {dash}" in section


def test_text_from_the_run_is_escaped_everywhere(simulated_run, tmp_path):
    bad = "<script>alert('x')</script>\"&"
    folder = simulated_run.write(tmp_path / "run")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["name"] = manifest["profile"] = manifest["git"]["commit"] = bad
    manifest["benchmark"]["description"] = bad
    manifest["methods"][0]["label"] = bad
    manifest["failed"][0]["reason"] = bad
    manifest["conditions"][1] |= {"name": bad, "description": bad}
    manifest["versions"][bad] = bad
    for metric in manifest["metrics"]:
        if metric["name"] == "auprc":
            metric["name"] = metric["traits"]["label"] = metric["traits"]["definition"] = bad
    domain = manifest["data"]["mimic4"]
    domain["citation"] = domain["source"] = domain["task"]["outcome"] = bad
    domain["exclusions"], domain["notes"] = [[bad, 3]], [bad]
    domain["features"][0]["label"] = bad
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with (folder / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row["method"] = row["method"].replace("logistic_regression", bad)
        row["condition"] = row["condition"].replace("missing_values", bad)
        row["domain_eval"] = bad if row["metric"] == "ece" else row["domain_eval"]
        row["metric"] = row["metric"].replace("auprc", bad)
    with (folder / "results.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    source = write_report(RunFolder(folder)).read_text(encoding="utf-8")
    page = Page(source)
    assert source.count("<script") == [tag for tag, _ in page.tags].count("script") == 1  # the page's own
    assert not page.open
    assert page.words.count("alert('x')") > 20
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_domains_get_sections_of_their_own(simulated_run, tmp_path):
    folder = simulated_run.write(tmp_path / "run")
    lines = (folder / "results.csv").read_text().splitlines()
    elsewhere = [line.replace("mimic4,mimic4", "mimic4,eicu") for line in lines[1:] if ",clean," in line]
    (folder / "results.csv").write_text("\n".join([*lines, *elsewhere]) + "\n")
    page = Page(write_report(RunFolder(folder)).read_text(encoding="utf-8"))
    assert "Performance on unchanged records: in hospital mortality, trained and evaluated on mimic4" in page.words
    assert "Performance on unchanged records: in hospital mortality, trained on mimic4, evaluated on eicu" in page.words
    anchors = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(anchors) == len(set(anchors))


def test_one_method_one_seed_and_nothing_but_clean(simulated_run, tmp_path):
    folder = simulated_run.write(tmp_path / "run")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {
        "conditions": manifest["conditions"][:1],
        "methods": manifest["methods"][1:2],
        "seeds": [0],
        "failed": [],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    lines = (folder / "results.csv").read_text().splitlines()
    kept = [line for line in lines[1:] if ",lightgbm,0,clean," in line]
    (folder / "results.csv").write_text("\n".join([lines[0], *kept]) + "\n")
    page = Page(write_report(RunFolder(folder)).read_text(encoding="utf-8"))
    assert "Robustness" not in page.words
    assert "One training seed (0)" in page.words
    assert "One method with one random seed was evaluated" in page.words


@pytest.mark.parametrize("missing", ["manifest.json", "results.csv", "costs.csv"])
def test_a_folder_that_is_no_run_is_refused(simulated_run, tmp_path, missing):
    folder = simulated_run.write(tmp_path / "run")
    (folder / missing).unlink()
    with pytest.raises(UserError, match=missing):
        write_report(RunFolder(folder))
    assert not (folder / "report.html").exists()


def test_a_damaged_run_is_refused_with_its_file(simulated_run, tmp_path):
    folder = simulated_run.write(tmp_path / "run")
    results = (folder / "results.csv").read_text()
    (folder / "results.csv").write_text(results.replace("ci_low", "lower", 1))
    with pytest.raises(UserError, match=r"results\.csv.*ci_low"):
        write_report(RunFolder(folder))
    (folder / "results.csv").write_text(results)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json"):
        write_report(RunFolder(folder))


def test_a_limited_run_says_how_many_cases_it_used(simulated_run, tmp_path):
    folder = simulated_run.write(tmp_path / "run")
    manifest = json.loads((folder / "manifest.json").read_text())
    used = sum(part["n_cases"] for part in manifest["parts"])
    manifest["data"]["mimic4"]["n_cases"] = used + 1000
    manifest["limit"] = 900
    (folder / "manifest.json").write_text(json.dumps(manifest))
    page = Page(write_report(RunFolder(folder)).read_text(encoding="utf-8"))
    assert f"Of these, {used:,} cases were used." in page.words
    assert f"{used:,} cases used" in page.words


def test_a_method_that_answers_everyone_alike_is_named(simulated_run, tmp_path):
    folder = simulated_run.write(tmp_path / "run")
    assert "One and the same probability" not in write_report(RunFolder(folder)).read_text()
    path = folder / "predictions" / "lightgbm.parquet"
    table = pq.read_table(path)
    column = table.schema.get_field_index("probability")
    pq.write_table(table.set_column(column, "probability", pa.array([0.25] * table.num_rows)), path)
    page = write_report(RunFolder(folder)).read_text()
    assert "One and the same probability for every case: lightgbm (0.250)" in page
