# SPDX-License-Identifier: Apache-2.0
"""Test the logic of the benchmark with invented figures; no test measures a speed."""

from __future__ import annotations

import io
import json

import pytest

pyperf = pytest.importorskip("pyperf")
console = pytest.importorskip("rich.console")

import aspects  # noqa: E402
from bench import __main__ as command  # noqa: E402
from bench import figures, floor, page, report, subjects, worker  # noqa: E402

NS = 1e-9

#: Figures within every limit.
GOOD = {
    "direct/positional": [100 * NS] * 3,
    "direct/keyword": [100 * NS] * 3,
    "proxy/positional": [900 * NS] * 3,
    "proxy/keyword": [900 * NS] * 3,
    "woven/disabled/positional": [300 * NS] * 3,
    "woven/disabled/keyword": [300 * NS] * 3,
    "direct/attribute": [40 * NS] * 3,
    "direct/method": [60 * NS] * 3,
    "proxy/attribute": [800 * NS] * 3,
    "proxy/method": [900 * NS] * 3,
    "woven/attribute": [100 * NS] * 3,
    "woven/method": [150 * NS] * 3,
    **{
        f"{system}/{count}/{style}": [(base + count * per_hook) * NS] * 3
        for style in ("positional", "keyword")
        for system, base, per_hook in (("woven", 600, 1000), ("floor", 200, 1100))
        for count in (1, 2, 8, 32, 64)
    },
    "direct/coroutine": [150 * NS] * 3,
    "woven/coroutine": [2400 * NS] * 3,
    "upstream/1/keyword": [5000 * NS] * 3,
    "upstream/8/keyword": [40000 * NS] * 3,
    "pluggy/1/keyword": [4000 * NS] * 3,
    **{
        f"threads/{count}/{what}": [time * NS] * 3
        for count in (1, 8)
        for what, time in (("direct", 100), ("woven", 1600))
    },
    "memory/first": [60000],
    "memory/1000th": [1000],
    "create/1": [0.1] * 3,
    "create/8": [0.1] * 3,
    "create/hooks/1": [3e-5] * 3,
    "create/hooks/0": [1e-5] * 3,
    "create/hooks/8": [5e-5] * 3,
}


def suite_of(values):
    benchmarks = []
    for name, taken in values.items():
        unit = "byte" if name.startswith("memory") else "second"
        metadata = {"name": name, "unit": unit}
        run = pyperf.Run(taken, metadata=metadata, collect_metadata=False)
        benchmarks.append(pyperf.Benchmark([run]))
    return pyperf.BenchmarkSuite(benchmarks)


@pytest.fixture
def made():
    """Return a function that makes figures: the good ones, with some replaced."""
    return lambda **other: figures.Figures(
        suite_of({**GOOD, **{k.replace("_", "/"): v for k, v in other.items()}})
    )


@pytest.fixture
def file(tmp_path, made):
    """Return a function that writes figures as ``--json`` does."""

    def write(name="run.json", **other):
        path = tmp_path / name
        made(**other).dump(path)
        return path

    return write


class TestFigures:
    def test_a_ratio_is_the_median_of_the_ratios_within_one_round(self, made):
        # In the second and third round the machine was busy, so that both took ten
        # times as long.
        mine = made(
            direct_keyword=[1.0, 10.0, 10.0], upstream_1_keyword=[3.0, 30.0, 30.0]
        )
        assert mine.ratio("upstream/1/keyword", "direct/keyword") == 3.0
        assert mine.added("upstream/1/keyword", "direct/keyword") == 20.0

    def test_runs_of_several_processes_are_paired_process_by_process(self):
        suite = suite_of({"a": [2.0, 2.0, 2.0], "b": [1.0, 1.0]})
        suite.add_runs(suite_of({"a": [40.0], "b": [10.0]}))
        rounds = list(figures.Figures(suite).rounds("a", "b"))
        assert rounds == [(2.0, 1.0), (2.0, 1.0), (40.0, 10.0)]

    def test_a_file_that_was_written_can_be_read(self, file, made):
        loaded = figures.Figures.load(file())
        assert loaded.names() == made().names()
        assert loaded.checks() == made().checks()

    def test_the_file_has_every_figure_with_its_ratios(self, file):
        data = json.loads(file().read_text())
        assert set(data["figures"]) == set(GOOD)
        one = data["figures"]["woven/1/keyword"]
        assert one["median"] == pytest.approx(1600 * NS)
        assert one["unit"] == "second"
        assert one["ratios"]["upstream/1/keyword"] == pytest.approx(0.32)
        assert data["checks"]["upstream-1"]["holds"] is True

    def test_pyperf_reads_the_file(self, file):
        suite = pyperf.BenchmarkSuite.load(str(file()))
        assert set(suite.get_benchmark_names()) == set(GOOD)

    @pytest.mark.parametrize(
        "text", ["", "{}", "[]", "no JSON", '{"version": "1.0", "benchmarks": []}']
    )
    def test_another_file_is_rejected_in_one_line(self, tmp_path, text):
        path = tmp_path / "other.json"
        path.write_text(text)
        with pytest.raises(figures.BadFileError) as caught:
            figures.Figures.load(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_every_figure_is_compared_with_measured_figures(self, made):
        mine = made()
        for name in mine.names():
            assert name not in mine.against(name)
            for other in mine.against(name):
                assert mine.ratio(name, other) > 0


class TestChecks:
    def test_all_eleven_pass_with_good_figures(self, made):
        checks = made().checks()
        assert len(checks) == 11
        assert [check.name for check in checks if not check.holds] == []

    @pytest.mark.parametrize(
        ("broken", "other"),
        [
            ("disabled", {"woven_disabled_keyword": [500 * NS] * 3}),
            ("passthrough", {"woven_attribute": [500 * NS] * 3}),
            ("passthrough", {"woven_method": [500 * NS] * 3}),
            ("upstream-1", {"upstream_1_keyword": [2400 * NS] * 3}),
            ("upstream-8", {"upstream_8_keyword": [20000 * NS] * 3}),
            ("pluggy-1", {"pluggy_1_keyword": [1600 * NS] * 3}),
            ("floor-1", {"floor_1_positional": [800 * NS] * 3}),
            ("floor-64", {"floor_64_keyword": [40000 * NS] * 3}),
            ("growth", {"woven_2_keyword": [2400 * NS] * 3}),
            ("threads", {"threads_8_woven": [2000 * NS] * 3}),
            ("memory", {"memory_1000th": [1537]}),
            ("coroutine-1", {"woven_coroutine": [3201 * NS] * 3}),
        ],
    )
    def test_a_ratio_beyond_its_limit_fails_its_check(self, made, broken, other):
        checks = made(**other).checks()
        assert [check.name for check in checks if not check.holds] == [broken]

    def test_a_ratio_equal_to_its_limit_passes(self):
        for at_least in (True, False):
            assert figures.Check("x", "x", 0.5, 0.5, at_least).holds

    def test_a_figure_that_was_not_measured_is_not_checked(self):
        few = {"memory/1000th": [2048]}
        checks = figures.Figures(suite_of(few)).checks()
        assert [(check.name, check.value) for check in checks] == [("memory", 2.0)]

    def test_every_check_has_a_limit(self):
        names = [name for name, *_ in figures.read_ceilings(figures.CEILINGS)]
        assert names == list(figures.CHECKS)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("[disabled]\n", "expected at_most or at_least"),
            (
                "[disabled]\nat_most = 1\nat_least = 1\n",
                "expected at_most or at_least",
            ),
            ("[disabled]\nat_most = much\n", "not a number"),
            ("[speed]\nat_most = 1\n", "unknown check"),
            ("at_most = 1\n", "no section headers"),
        ],
    )
    def test_an_invalid_file_of_limits_is_reported_in_one_line(
        self, tmp_path, text, says
    ):
        path = tmp_path / "ceilings.ini"
        path.write_text(text)
        with pytest.raises(figures.BadFileError) as caught:
            figures.read_ceilings(path)
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)


class TestWorker:
    def test_a_slow_first_call_does_not_shorten_the_measurement(self):
        runs = []

        def time_of(loops):
            runs.append(loops)
            slow_start = worker.SAMPLE if len(runs) == 1 else 0
            return slow_start + loops * worker.SAMPLE / 100

        assert worker.calibrated(time_of) == 128


class TestReport:
    @staticmethod
    def text(table):
        out = io.StringIO()
        console.Console(file=out, width=120).print(table)
        return out.getvalue()

    @pytest.mark.parametrize(
        ("value", "unit", "text"),
        [
            (1.5, "second", "1.5 s"),
            (0.0123, "second", "12.3 ms"),
            (2.44e-6, "second", "2.44 µs"),
            (-40e-9, "second", "-40 ns"),
            (1000, "byte", "1,000 B"),
            (61440, "byte", "60.0 KiB"),
        ],
    )
    def test_values_have_a_unit_of_suitable_size(self, value, unit, text):
        assert report.human(value, unit) == text

    def test_calls_have_a_row_for_each_system_and_for_each_ratio(self, made):
        text = self.text(report.calls_table(made()))
        assert "woven, keyword" in text
        assert "woven / upstream" in text
        assert "0.320" in text

    def test_every_figure_is_in_one_of_the_tables(self, made):
        mine = made()
        rows = self.text(report.others_table(mine)).splitlines()
        others = {row.split()[0] for row in rows if "/" in row}
        by_count = {name for name in mine.names() if name.split("/")[1].isdigit()}
        by_count = {name for name in by_count if name.endswith(report.STYLES)}
        assert others == set(mine.names()) - by_count

    def test_a_failed_check_is_shown(self, made):
        text = self.text(report.checks_table(made(memory_1000th=[2048]).checks()))
        assert text.count("failed") == 1
        assert text.count("passed") == 10

    def test_a_comparison_shows_times_and_ratios(self, made):
        new = made(woven_1_keyword=[800 * NS] * 3)
        rows = self.text(report.compare_table(made(), new)).splitlines()
        (row,) = (row for row in rows if "woven/1/keyword" in row)
        cells = ["1.6", "µs", "800", "ns", "-50%", "16.0", "8.00", "-50%"]
        assert row.split() == ["woven/1/keyword", *cells]

    def test_a_comparison_leaves_out_figures_that_the_old_run_lacks(self, made):
        old = figures.Figures(suite_of({"direct/keyword": [1e-7]}))
        text = self.text(report.compare_table(old, made()))
        assert "direct/keyword" in text
        assert "woven" not in text

    def test_the_cost_is_reported_in_words(self, made):
        call, second, one, eight = report.answer(made())
        assert "1.5 µs for 1," in call
        assert "100 calls a second" in second
        assert "1 hook takes 20 µs: 0.020%" in one
        assert "8 hooks take 40 µs: 0.040%" in eight


class TestPage:
    EMPTY = "".join(f".. begin {name}\n.. end {name}\ntext\n" for name in page.PARTS)

    def test_filling_a_page_twice_changes_nothing(self, made):
        once = page.filled(self.EMPTY, [made()])
        assert page.filled(once, [made()]) == once
        assert once.count("\ntext\n") == len(page.PARTS)

    def test_the_answer_has_the_figures_of_the_last_run(self, made):
        text = page.filled(self.EMPTY, [made(woven_1_keyword=[9.0] * 3), made()])
        assert "adds 1.5 µs to a driver call" in text
        assert "takes 32% of the time" in " ".join(text.split())
        assert "**0.02% and 0.04%**" in text

    def test_the_table_has_a_column_for_each_run(self, made):
        text = page.filled(self.EMPTY, [made(memory_1000th=[512]), made()])
        assert "Values of 2 quick runs in a row:" in text
        (row,) = (line for line in text.splitlines() if "memory in KiB" in line)
        assert row.split()[-4:] == ["≤", "1.50", "0.500", "0.977"]

    def test_a_page_without_a_marked_part_is_rejected(self, made):
        with pytest.raises(figures.BadFileError, match=r"missing '\.\. begin answer'"):
            page.filled("text\n", [made()])

    def test_a_run_without_a_required_figure_is_rejected(self):
        few = figures.Figures(suite_of({"direct/keyword": [1e-7]}))
        with pytest.raises(figures.BadFileError, match="not measured: woven/1"):
            page.filled(self.EMPTY, [few])

    def test_the_page_has_all_limits(self):
        text = page.PAGE.read_text("utf-8")
        for name, title, limit, at_least in figures.read_ceilings(figures.CEILINGS):
            bound = "≥" if at_least else "≤"
            (row,) = (line for line in text.splitlines() if line.startswith(title))
            assert f"{bound} {limit:.2f}" in row, name


class TestCommand:
    def test_a_failed_check_sets_the_exit_status(self, file, monkeypatch, capsys):
        monkeypatch.setattr(command, "missing", list)
        good, bad = file(), file("bad.json", memory_1000th=[2048])
        assert command.run(["--load", str(good), "--check"]) == 0
        assert command.run(["--load", str(bad), "--check"]) == 1
        assert command.run(["--load", str(bad)]) == 0
        assert "failed" in capsys.readouterr().out

    def test_compare_shows_the_changes_and_json_copies_the_run(
        self, file, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.setattr(command, "missing", list)
        old, copy = file(), tmp_path / "copy.json"
        arguments = ["--load", str(old), "--compare", str(old), "--json", str(copy)]
        assert command.run(arguments) == 0
        assert "Changes" in capsys.readouterr().out
        assert figures.Figures.load(copy).checks() == figures.Figures.load(old).checks()

    @pytest.mark.slow
    def test_plot_writes_a_png(self, file, tmp_path, monkeypatch):
        pytest.importorskip("matplotlib")
        monkeypatch.setattr(command, "missing", list)
        path = tmp_path / "overhead.png"
        assert command.run(["--load", str(file()), "--plot", str(path)]) == 0
        assert path.read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["--fast"], "unrecognized arguments: --fast"),
            (["--json"], "expected one argument"),
            (["--plot", "picture.svg"], "must end with .png"),
            (["--json", "no/such/directory/run.json"], "no file can be written there"),
            (["--json", "."], "no file can be written there"),
            (["--load", "run.json", "--quick"], "give one of them"),
            (["--compare", "missing.json"], "missing.json: No such file"),
            (["--load", "missing.json"], "missing.json: No such file"),
        ],
    )
    def test_an_invalid_argument_is_reported_in_one_line_before_measuring(
        self, arguments, says, monkeypatch, capsys, tmp_path
    ):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(command, "missing", list)
        monkeypatch.setattr(command, "measure", None)
        monkeypatch.setattr("sys.argv", ["bench", *arguments])
        with pytest.raises(SystemExit) as caught:
            command.main()
        assert caught.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("bench: error: ")
        assert says in error
        assert error.count("\n") == 1

    def test_missing_distributions_are_named(self, monkeypatch):
        monkeypatch.setattr(command, "NEEDS", {"no_such_module": "no-such", "os": "os"})
        with pytest.raises(
            command.UsageError, match=r"not installed: no-such; run pip"
        ):
            command.run([])

    def test_a_quick_run_takes_less_than_a_minute(self):
        def length(stages):
            return sum(stage.processes * stage.seconds for stage in stages)

        assert length(command.QUICK) < 60
        assert length(command.FULL) < 600
        groups = [stage.group for stage in command.FULL]
        assert groups == [stage.group for stage in command.QUICK]


class RecordingHook(subjects.NoopHook):
    """A hook that records its runs."""

    def __init__(self, name, seen, fail=None):
        super().__init__(None, None)
        self.name, self.seen, self.fail = name, seen, fail

    def _run(self, kind, *arguments):
        self.seen.append((kind, self.name, *arguments))
        if self.fail == kind:
            raise ValueError(self.name)

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        self._run("pre", context, func_name, args, kwargs)
        return f"data of {self.name}"

    def _execute_post_hook(
        self, context, func_name, pre_hook_data, driver_action_results, *args, **kwargs
    ):
        self._run("post", pre_hook_data, driver_action_results)
        return aspects.UpdatedResults([*driver_action_results, self.name])

    def _execute_error_hook(
        self, context, func_name, pre_hook_data, error, *args, **kwargs
    ):
        self._run("error", pre_hook_data, type(error))


class TestFloor:
    """Test that the floor follows the contract of a hook."""

    @staticmethod
    def run(fail=None, of="b"):
        seen = []
        hooks = [
            RecordingHook(name, seen, fail if name == of else None) for name in "abc"
        ]
        driver = subjects.Driver()
        written = floor.by_hand(driver, hooks)
        return written, driver, seen

    def test_hooks_run_in_order_and_replace_results(self):
        written, _, seen = self.run()
        result = written.create_share("context", "share", share_server=None)
        assert result == ["127.0.0.1:/export", "a", "b", "c"]
        call = ("context", "create_share_instance", ("share",), {"share_server": None})
        assert seen == [
            *(("pre", name, *call) for name in "abc"),
            ("post", "a", "data of a", result[:1]),
            ("post", "b", "data of b", result[:2]),
            ("post", "c", "data of c", result[:3]),
        ]

    @pytest.mark.parametrize(
        ("fail", "owed"), [("pre", "a"), ("post", "c"), ("error", "cba")]
    )
    def test_an_error_runs_the_error_methods_that_are_owed(self, fail, owed):
        written, driver, seen = self.run(fail)
        expected = ValueError
        if fail == "error":
            expected = subjects.DriverError
            driver.create_share = driver.delete_share
        with pytest.raises(expected):
            written.create_share("context", "share")
        errors = [what for what in seen if what[0] == "error"]
        assert errors == [("error", n, f"data of {n}", expected) for n in owed]

    def test_a_call_without_context_gets_an_admin_context(self):
        written, _, seen = self.run()
        written.create_share(None, "share")
        assert seen[0][2].is_admin

    @pytest.mark.parametrize("count", [0, 1, 64])
    def test_the_floor_is_written_for_any_number_of_hooks(self, count):
        driver = subjects.Driver()
        written = floor.by_hand(driver, subjects.hooks(count))
        assert written.create_share(None, {}) is driver.export_locations
