import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune import _spool
from langchain_finetune.errors import SourceNotFoundError
from langchain_finetune.evaluators import ModelComparison, PromotionGate
from langchain_finetune.evaluators.html import sections
from langchain_finetune.evaluators.html.charts import Line, bar, curve, gain_bar, histogram
from langchain_finetune.evaluators.html.markdown import to_html
from tests.fakes.clients import trainer_at
from tests.fakes.openai_host import FakeHost
from tests.fakes.training_rows import call, tool_row

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&"
VOID = {"meta", "br"}
KNOWN = VOID | {
    "rect",
    "line",
    "circle",
    "polyline",
    "html",
    "head",
    "title",
    "style",
    "body",
    "main",
    "section",
    "h1",
    "h2",
    "h3",
    "h4",
    "p",
    "div",
    "b",
    "span",
    "i",
    "svg",
    "text",
    "table",
    "tr",
    "th",
    "td",
    "dl",
    "dt",
    "dd",
    "details",
    "summary",
    "code",
    "pre",
}


class Page(HTMLParser):
    """Holds a page to be well formed, of known elements, without a script or a link to anywhere."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.seen = [], [], set()

    def handle_starttag(self, tag, attrs):
        assert tag in KNOWN, tag
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name not in ("src", "href"), name
            assert value is not None, name
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @classmethod
    def of(cls, text):
        page = cls()
        page.feed(text)
        page.close()
        assert page.open == []
        return page

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def report():
    host = FakeHost()

    def answer(body):
        number = int(re.sub(r"\D", "", body["messages"][-1]["content"]) or 0)
        is_tuned = body["model"].startswith("ft:")
        if is_tuned != (number == 15):
            return {
                "role": "assistant",
                "content": None,
                "tool_calls": [call(arguments=f'{{"num1": {number}}}')],
            }
        return {"role": "assistant", "content": EVIL}

    host.answer = answer
    row = tool_row(17)
    row["messages"][0]["content"] = f"Reckon 17 {EVIL}"
    with _spool.Spool("data") as spool:
        splits = {split: spool.writer(f"{split}.jsonl") for split in ("train", "test")}
        for number in range(12):
            splits["train"].write(tool_row(number))
        for line in (tool_row(14), tool_row(15), tool_row(16), row):
            splits["test"].write(line)
        lines, card = spool.writer("report.jsonl"), spool.writer("card.md")
        for number in range(16):
            place = (
                {"split": "train", "row": number} if number < 12 else {"split": "test", "row": number - 12}
            )
            lines.write({"run_id": f"run-{EVIL}-{number}", "tokens": 100 + number, "tags": [EVIL], **place})
        card.write_line(f"# Training data\n\n{EVIL}\n\n| a | b |\n|---|---|\n| `{EVIL}` | 2 |\n".encode())
        data = _spool.publish_training_data(spool, splits, lines, "card.md", num_runs=16)
    model = trainer_at(host).invoke(data)
    return ModelComparison(forced_baseline=True).invoke(model)


METRICS = [{"step": step, "train_loss": 2 / step, **({"valid_loss": 2.1 / step} if step % 5 == 0 else {})}
           for step in range(1, 40)]  # fmt: skip


def test_the_page_tells_everything_and_holds_no_script(report, tmp_path):
    decided = report.with_decision(PromotionGate().decide(report))
    path = decided.write_html(tmp_path / "report.html", metrics=METRICS)
    text = path.read_text()
    page = Page.of(text)
    for words in (
        "kept the baseline",
        "no clear difference" if decided.decision is None else "Before and after",
        "Question by question",
        "1 questions got worse.",
        "training loss",
        "validation loss",
        "16 rows of training, validation and test.",
        "Dataset card",
        report.test_sha256,
        report.job_id,
        "<script>alert('x')</script>",
    ):
        assert words in page.words, words
    assert "script" not in page.seen
    assert "http" not in re.sub(r'http-equiv="Content-Security-Policy"', "", text)
    assert "default-src &#x27;none&#x27;" in text
    assert "prefers-color-scheme: dark" in text
    assert len(text) < 200_000


def test_it_lies_beside_the_details_unless_told_otherwise(report):
    assert report.write_html() == report.directory / "report.html"
    assert "Loss" not in Page.of((report.directory / "report.html").read_text()).words


def test_without_card_and_report_the_page_still_stands(report):
    summary = report.summary()
    assert sections.tokens({**summary, "data": {}}) == ""
    assert sections.card({**summary, "data": {"card": "/none"}}) == ""
    with pytest.raises(SourceNotFoundError):
        report.model_copy(update={"directory": None}).write_html()


@given(st.text(), st.text(), st.text())
def test_whatever_a_run_holds_is_text_on_the_page(asked, said, arguments):
    calls = [{"type": "function", "function": {"name": said, "arguments": arguments}}]
    answer = {"role": "assistant", "content": said, "tool_calls": calls, "refusal": asked}
    line = {
        "row": 0,
        "turn": 1,
        "run_ids": [asked],
        "tags": [said],
        "asked": asked,
        "expected": answer,
        "models": {
            "base": {"answer": answer, "error": None, "scores": {"exact": 1.0}},
            said: {"answer": None, "error": asked, "scores": {"exact": 0.0}},
        },
    }
    models = [{"name": "base", "role": "baseline"}, {"name": said, "role": "contender"}]
    kinds = {"exact": {"is_share": True, "is_more_better": True}}
    if said != "base":
        Page.of(sections.changed([line], {"headline": "exact", "models": models, "metrics": kinds}))


@given(st.text(alphabet="#|`-*<>&ab \n\\"))
def test_any_card_becomes_well_formed_html(text):
    Page.of(to_html(text))


def test_a_card_has_headings_tables_and_code():
    page = to_html(
        "# Title\n\nSome `code`.\n\n| a | b |\n|---|---|\n| x \\| y | 2 |\n\n```text\n| raw |\n```\n"
    )
    assert "<h3>Title</h3>" in page
    assert "<code>code</code>" in page
    assert "<th>a</th>" in page
    assert "<td>x | y</td>" in page
    assert "<pre>| raw |</pre>" in page


FINITE = st.floats(0, 1e6, allow_nan=False)


@given(st.lists(st.tuples(st.integers(0, 10_000), FINITE), max_size=30))
def test_any_curve_stays_inside_its_axes(points):
    drawn = curve([Line("loss", "model-2", points)], "step")
    assert bool(drawn) is bool(points)
    Page.of(drawn)
    for pairs in re.findall(r'points="([^"]*)"', drawn):
        for pair in pairs.split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= 640
            assert 0 <= y <= 240


@given(st.lists(st.tuples(st.text(max_size=5), st.integers(0, 999)), max_size=20))
def test_any_histogram_is_well_formed(counts):
    Page.of(histogram(counts, EVIL))


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(-2, 2))
def test_bars_stay_inside_their_track(mean, low, high):
    for drawn in (bar(mean, low, high, "model-1"), gain_bar(mean, low, high)):
        Page.of(drawn)
        assert all(
            0 <= float(value) <= 100
            for value in re.findall(r"([\d.]+)%", re.sub(r'aria-label="[^"]*"', "", drawn))
        )


def test_a_gain_has_the_color_of_what_is_sure():
    assert 'class="better"' in gain_bar(0.5, 0.1, 0.9)
    assert 'class="worse"' in gain_bar(-0.5, -0.9, -0.1)
    assert 'class="unsure"' in gain_bar(0.1, -0.1, 0.3)


def test_bins_hold_every_row():
    for values in ([], [5], [1, 1000, 1000], list(range(100))):
        assert sum(number for _, number in sections._bins(values)) == len(values)
    assert json.dumps(sections._bins([5])) == '[["5", 1]]'
