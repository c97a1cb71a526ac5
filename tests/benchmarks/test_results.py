"""Medians, ratios, the table and the chart, from measurements made up here."""

import json
from random import Random
from statistics import median
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks import chart, report
from benchmarks.comparisons import json_figures
from benchmarks.figures import Figure, figures, interval
from benchmarks.results import Cell, Measured, Row
from benchmarks.startup import start_figures


def row(kind, precision, rates, p50=0.05, errors=0):
    cells = {
        concurrency: Cell([Measured(round(rate * 10), 10.0, p50, 2 * p50, errors)])
        for concurrency, rate in zip((1, 8, 64), rates, strict=True)
    }
    return Row(kind, f"{kind} {precision}", precision, cells)


ROWS = [
    row("ceiling", "bf16", (25, 50, 50)),
    row("direct", "bf16", (20, 40, 39), p50=0.050),
    row("api", "bf16", (19, 39, 38), p50=0.052),
    row("stock", None, (13, 2, 1)),
    row("fastapi", None, (8, 15, 15), errors=3),
]


def test_a_cell_is_the_median_of_its_rounds_and_the_sum_of_their_errors():
    rounds = [Measured(10, 1, 0.1, 0.3), Measured(30, 1, None, None, 2), Measured(20, 1, 0.2, 0.5, 1)]
    cell = Cell(rounds)
    assert (cell.rate, cell.p50, cell.p99, cell.errors) == (20, pytest.approx(0.15), pytest.approx(0.4), 3)
    assert Cell([rounds[1]]).p50 is None


def test_the_ratios_that_matter():
    found = {figure.question: round(figure.value, 3) for figure in figures(ROWS)}
    assert found == {
        "TorchServe direct ÷ ceiling, bf16": 0.79,
        "through the API ÷ TorchServe direct, bf16": 0.975,
        "through the API, bf16 ÷ best peer (fastapi None)": 2.6,
        "direct bf16: concurrency 64 ÷ 8": 0.975,
        "api bf16: concurrency 64 ÷ 8": 0.974,
    }


def test_each_precision_has_its_own_ratios():
    rows = [*ROWS, row("direct", "int8", (30, 60, 60)), row("api", "int8", (29, 57, 57))]
    found = {figure.question: round(figure.value, 3) for figure in figures(rows)}
    assert found["through the API ÷ TorchServe direct, int8"] == 0.95
    assert found["through the API, int8 ÷ best peer (fastapi None)"] == 3.8
    assert found["through the API ÷ TorchServe direct, bf16"] == 0.975


def test_what_is_compared_was_measured_in_the_same_round():
    """A machine whose speed changes: in every other round everything takes twice as long, and in one the API alone is
    disturbed. Its median is then of a slow round, and TorchServe's of a fast one."""
    speeds = [1.0, 0.5, 1.0, 0.5, 1.0]

    def rounds(rate, disturbed=None):
        rates = [rate * speed * (0.4 if i == disturbed else 1) for i, speed in enumerate(speeds)]
        return Cell([Measured(round(1000 * each), 10.0, 0.1 / each, 0.2) for each in rates])

    direct = Row("direct", "direct", "bf16", {1: rounds(2.0), 8: rounds(4.0, disturbed=0), 64: rounds(4.0)})
    api = Row(
        "api", "api", "bf16", {1: rounds(1.6, disturbed=0), 8: rounds(3.8, disturbed=0), 64: rounds(3.8, disturbed=2)}
    )
    peer = Row("fastapi", "peer", None, {8: rounds(0.95), 64: rounds(0.4)})
    found = {figure.question: round(figure.value, 3) for figure in figures([direct, api, peer])}
    assert found == {
        "through the API ÷ TorchServe direct, bf16": 0.95,
        "through the API, bf16 ÷ best peer (peer)": 4.0,
        "direct: concurrency 64 ÷ 8": 1.0,
        "api: concurrency 64 ÷ 8": 1.0,
    }


def test_json_is_compared_within_a_round_too():
    mine, other = (
        Cell([Measured(answered, 1, None, None) for answered in each]) for each in ((40, 8, 30), (10, 4, 20))
    )
    assert [figure.value for figure in json_figures(mine, other)] == [30, 10, 2]  # 4, 2 and 1.5; of the medians 3


def test_a_start_is_compared_within_its_turn():
    found = start_figures([10.0, 20.0, 10.0], [12.0, 22.0, 30.0], [15.0, 40.0, 21.0])
    assert [figure.value for figure in found] == [10, 22, 21, 1.2, 2]


def test_one_request_at_a_time_is_compared_only_where_nothing_else_was_measured():
    def ratios(concurrencies):
        cells = [
            {c: Cell([Measured(rate * (50 if c == 1 else 100), 1.0, None, None)]) for c in concurrencies}
            for rate in (4, 2)
        ]
        cells[1][1] = Cell([Measured(20, 1.0, None, None)])
        rows = [Row("direct", "direct", "bf16", cells[0]), Row("api", "api", "bf16", cells[1])]
        return [round(figure.value, 3) for figure in figures(rows)]

    assert ratios([1, 8]) == [0.5]
    assert ratios([1]) == [0.1]


def test_an_interval_has_the_true_median_in_19_of_20_runs():
    """Of times with a long tail, whose median is ln 2."""
    random = Random(1)
    for size in (6, 10, 33, 400):
        runs = [interval([random.expovariate(1) for _ in range(size)]) for _ in range(2000)]
        right = sum(low < 0.693147 < high for low, high in runs) / len(runs)
        assert 0.94 < right < 0.99, size
    assert median(high - low for low, high in runs) < 0.25, "and it tells something"


def test_an_interval_leaves_out_what_it_may():
    """As tables of the sign test have it: 0, 1, 2 and 5 at each end; of very many, by exact sums of binomials."""
    ends = {size: interval(range(size)) for size in (6, 9, 12, 20, 12000)}
    assert ends == {6: (0, 5), 9: (1, 7), 12: (2, 9), 20: (5, 14), 12000: (5892, 6107)}
    assert interval([3, 1, 2, 6, 5, 4]) == (1, 6)
    assert [interval([1.0] * size) for size in (0, 1, 5)] == [None] * 3


def test_a_figure_is_shown_with_its_interval(capsys):
    ratio, time = Figure.of("faster", [1.5, 1.25, 1, 3, 2, 2.5]), Figure.of("time", [1.0, 2.0, 6.0], "ms")
    assert report.markdown([], [ratio, time], []).splitlines()[2:] == [
        "| faster | 1.75 × | 1.00 to 3.00 |",
        "| time | 2.0 ms |  |",
    ]
    assert report.markdown([], [time], []).splitlines()[2:] == ["| time | 2.0 ms |"]
    report.show([], [ratio], [], Console())
    assert capsys.readouterr().out.split() == ["1.75", "×", "1.00", "to", "3.00", "faster"]


def test_every_ratio_of_enough_rounds_has_its_interval():
    def several(rate):
        return Cell([Measured(rate + i, 1.0, None, None) for i in range(6)])

    rows = [
        Row(kind, kind, precision, {8: several(rate), 64: several(rate)})
        for kind, precision, rate in (("ceiling", "x", 50), ("direct", "x", 40), ("api", "x", 39), ("stock", None, 10))
    ]
    found = [*figures(rows), *json_figures(several(40), several(10)), *start_figures(*[list(range(1, 7))] * 3)]
    assert len(found) == 5 + 3 + 5
    for figure in found:
        assert figure.interval, figure.question
        assert figure.interval[0] <= figure.value <= figure.interval[1], figure.question


def test_no_ratio_without_both_of_its_rows():
    assert figures([ROWS[3]]) == []
    assert [figure.question for figure in figures([ROWS[2]])] == ["api bf16: concurrency 64 ÷ 8"]


def test_the_table():
    text = report.markdown(ROWS[3:], [], [1, 8, 64]).splitlines()
    assert text[0].count("|") == text[2].count("|") == 12
    assert text[3] == "| fastapi None | 8.0 | 50 | 100 | 15.0 | 50 | 100 | 15.0 | 50 | 100 | 9 |"


def test_a_dash_where_too_few_answers_came():
    assert report.columns(Cell([Measured(3, 2, None, None)])) == ["1.5", "–", "–"]


def test_the_file_has_every_round():
    saved = json.loads(json.dumps(ROWS[4].cells[8].as_json()))
    (each,) = saved["rounds"]
    assert each == {
        **{"answered": 150, "seconds": 10.0, "rate": 15.0, "p50": 0.05, "p99": 0.1},
        **{"errors": 3, "before": 0},
    }
    assert (saved["rate"], saved["errors"]) == (15.0, 3)


def test_the_chart_shows_every_row_and_its_errors(tmp_path):
    path = tmp_path / "chart.svg"
    chart.draw(ROWS, [1, 8, 64], path, "a machine")
    assert ElementTree.parse(path).getroot().tag.endswith("svg")
    shown = path.read_text()
    for text in ("fastapi None", "15.0 (3 errors)", "concurrency 64", "a machine"):
        assert text in shown, text
