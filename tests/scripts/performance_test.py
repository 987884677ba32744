"""The parts of scripts/performance that measure nothing: figures, records, tables and plots; and that a process that
fails is told of without stopping the others."""

import io
import json
import re
import sys
import tempfile
import unittest
import xml.dom.minidom
from contextlib import redirect_stderr
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/performance"))

import figures  # noqa: E402
import goals  # noqa: E402
import growth  # noqa: E402
import measure  # noqa: E402
import page  # noqa: E402
import plots  # noqa: E402
from cases import GROUPS, LAYERS, MORE_PEERS, OURS, PEERS, Case, Command, ours  # noqa: E402
from records import Missing, Records, Round  # noqa: E402

RECORDED = Path(__file__).resolve().parent / "results.jsonl"
CASES = [case for group in GROUPS for case in group.cases]


def line(impl, ms, **more):
    return {"impl": impl, "case": "c", "ms_median": ms, **more}


def process(case, command, round_number, *results, status=0):
    return {"case": case, "command": command, "round": round_number, "exit": status, "seconds": 2.0,
            "at": "2025-11-25T02:40:11", "commit": "abc", "line": f"run {case} {command}", "results": list(results),
            "error": ""}


class Figures(unittest.TestCase):
    def test_a_spread_is_median_and_extremes_over_the_rounds_that_have_the_figure(self):
        rounds = Records([process("c", OURS, n, line("evomoe", ms)) for n, ms in ((1, 3.0), (2, 9.0), (3, 4.0))]
                         + [process("other", OURS, 4, line("evomoe", 1.0))]).rounds()
        self.assertEqual(figures.spread(figures.value("c", "ms_median"), rounds), (4.0, 3.0, 9.0, 3))

    def test_what_was_not_measured_has_no_figure(self):
        self.assertIsNone(figures.spread(figures.value("c", "ms_median"), Records().rounds()))
        self.assertIsNone(figures.spread(figures.value("c", "gflops"),
                                         Records([process("c", OURS, 1, line("evomoe", 1.0))]).rounds()))

    def test_ours_is_compared_with_the_fastest_peer_of_the_same_round(self):
        rounds = Records([process("c", OURS, 1, line("evomoe", 10.0)), process("c", OURS, 2, line("evomoe", 20.0)),
                          process("c", PEERS, 1, line("a", 30.0), line("b", 25.0)),
                          process("c", PEERS, 2, line("a", 30.0), line("b", 35.0))]).rounds()
        self.assertEqual(figures.spread(figures.times_faster("c"), rounds), (2.0, 1.5, 2.5, 2))

    def test_a_peer_of_the_first_round_counts_in_all(self):
        rounds = Records([process("c", OURS, n, line("evomoe", 10.0)) for n in (1, 2)]
                         + [process("c", PEERS, n, line("a", 30.0)) for n in (1, 2)]
                         + [process("c", MORE_PEERS, 1, line("b", 20.0))]).rounds()
        self.assertEqual(figures.spread(figures.times_faster("c"), rounds), (2.0, 2.0, 2.0, 2))

    def test_yardsticks_and_gated_experts_are_no_peers(self):
        one = Round([process("c", PEERS, 1, line("a", 30.0), line("dense_ffn", 5.0), line("hf", 6.0, ffn="swiglu"))])
        self.assertEqual([peer["impl"] for peer in figures.peers(one, "c")], ["a"])
        with self.assertRaises(Missing):
            figures.peers(Round([process("c", PEERS, 1, line("dense_gpt", 5.0))]), "c")

    def test_layers_of_gated_experts_have_gated_peers(self):
        case = "layer-gated-E8-k1"
        one = Round([process(case, PEERS, 1, line("a", 30.0, ffn="gelu"), line("hf", 6.0, ffn="swiglu"))])
        self.assertEqual([peer["impl"] for peer in figures.peers(one, case)], ["hf"])

    def test_memory_beyond_the_training_state_is_compared_with_the_least(self):
        parameters = 2**20  # 16 MiB of weights, gradients and moments
        one = Round([process("c", OURS, 1, line("evomoe", 1.0, peak_mem_mb=26.0, parameters=parameters)),
                     process("c", PEERS, 1, line("a", 1.0, peak_mem_mb=66.0, parameters=parameters),
                             line("b", 1.0, peak_mem_mb=56.0, parameters=parameters))])
        self.assertEqual(figures.beyond_ratio("c")(one), 0.25)

    def test_the_slope_is_the_largest_difference_from_all_active(self):
        one = Round([process("c", phase, 1, line("evomoe", 1.0, ms_per_active_expert=ms))
                     for phase, ms in (("all", 10.0), ("half", 9.0), ("hard", 12.0))])
        self.assertAlmostEqual(figures.worst_slope("c", ("all", "half", "hard"))(one), 0.2)

    def test_checksums_are_compared_where_both_have_them(self):
        own = line("evomoe", 1.0, checksum={"loss": 2.0, "grad_x": 4.0})
        self.assertAlmostEqual(figures.checksum_difference(own, line("a", 1.0, checksum={"loss": 2.02})), 0.02 / 2.02)
        self.assertIsNone(figures.checksum_difference(own, line("a", 1.0, checksum=None)))


class Goals(unittest.TestCase):
    def test_every_figure_is_of_a_case_and_a_command_that_are_measured(self):
        known = {(case.name, command.name) for case in CASES for command in case.commands}
        test = self

        class Asked(Round):
            def all(self, case, command=OURS):
                if command == MORE_PEERS:
                    raise Missing(case)
                test.assertIn((case, command), known)
                ffn = "swiglu" if case in LAYERS and LAYERS[case].gated else "gelu"
                return [line("a", 1.0, peak_mem_mb=64.0, parameters=1, ffn=ffn)]

            def value(self, case, key, impl=None, command=OURS):
                self.all(case, command)
                return 1.0

        for goal in goals.GOALS:
            self.assertIsInstance(goal.figure(Asked([])), float, goal.what)

    def test_a_goal_is_a_bound_from_below_or_above(self):
        fast = goals.Goal("w", "b", None, "{:.2f} × faster", at_least=2.5)
        small = goals.Goal("w", "b", None, "{:.0f} MiB", at_most=250)
        self.assertEqual((fast.asked, small.asked), ("≥ 2.5 × faster", "≤ 250 MiB"))
        self.assertTrue(fast.met(2.5) and small.met(250.0))
        self.assertFalse(fast.met(2.49) or small.met(251.0))


class Kept(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = Path(self.folder.name) / "kept/results.jsonl"

    def test_what_is_written_is_read_again(self):
        records = Records([process("c", OURS, 1, line("evomoe", 1.0))], {"cores": 2})
        records.write(self.path)
        records.append(process("c", PEERS, 1, status=1), self.path)
        again = Records.read(self.path)
        self.assertEqual((again.processes, again.machine), (records.processes, {"cores": 2}))

    def test_half_a_line_at_the_end_is_left_out(self):
        Records([process("c", OURS, 1)], {}).write(self.path)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write('{"case": "c", "comm')
        with redirect_stderr(io.StringIO()) as said:
            self.assertEqual(len(Records.read(self.path).processes), 1)
        self.assertIn(":3:", said.getvalue())

    def test_a_failure_is_forgotten_when_the_process_ran_later(self):
        records = Records([process("c", OURS, 1, status=1), process("c", OURS, 1), process("c", PEERS, 1, status=1)])
        self.assertEqual([failed["command"] for failed in records.failed()], [PEERS])
        self.assertTrue(records.done("c", OURS, 1))
        self.assertFalse(records.done("c", PEERS, 1))


class Measuring(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.program = Path(folder.name) / "evomoe"
        self.program.write_text("#!/bin/sh\n[ \"$2\" = good ] || { echo 'no such benchmark' >&2; exit 2; }\n"
                                "echo '{\"impl\": \"evomoe\", \"case\": \"c\", \"ms_median\": 1}'\necho no result\n")
        self.program.chmod(0o755)
        self.path = Path(folder.name) / "results.jsonl"
        self.records = Records()
        self.records.write(self.path)

    def measure(self, cases, rounds):
        with redirect_stderr(io.StringIO()) as said:
            measure.measure(cases, rounds, measure.Programs(self.program, sys.executable), self.records, self.path, {})
        return said.getvalue()

    def test_a_failed_case_is_named_and_does_not_stop_the_others(self):
        said = self.measure([Case("first", (ours("bad"),)), Case("second", (ours("good"),))], 1)
        self.assertIn("FAILED with exit status 2", said)
        self.assertIn("no such benchmark", said)
        self.assertEqual([(p["case"], p["exit"], len(p["results"])) for p in Records.read(self.path).processes],
                         [("first", 2, 0), ("second", 0, 1)])

    def test_a_run_goes_on_where_it_stopped(self):
        cases = [Case("first", (ours("good"),)), Case("second", (ours("good", rounds=1),))]
        self.measure(cases, 1)
        self.measure(cases, 3)
        self.assertEqual([(p["case"], p["round"]) for p in self.records.processes],
                         [("first", 1), ("second", 1), ("first", 2), ("first", 3)])

    def test_ours_and_the_peers_alternate_and_without_peers_ours_runs_alone(self):
        cases = [Case("c", (ours("good"), Command(PEERS, "bench_layer.py", "--tokens 1")))]
        both = measure.Programs(self.program, "python3", ROOT / "peers")
        self.assertEqual([command.name for _, _, command, _ in measure.planned(cases, 2, both)],
                         [OURS, PEERS, OURS, PEERS])
        alone = measure.Programs(self.program, "python3")
        self.assertEqual([command.name for _, _, command, _ in measure.planned(cases, 2, alone)], [OURS, OURS])

    def test_the_time_left_is_what_the_processes_took_before(self):
        plan = list(measure.planned([Case("a", (ours("good"),)), Case("b", (ours("good"),))], 1,
                                    measure.Programs(self.program, "python3")))
        self.assertEqual(measure.time_left(plan, {("a", OURS): 120.0}), "4 min left")
        self.assertEqual(measure.time_left(plan, {}), "time left not known yet")


class Page(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.page, self.plots = Path(folder.name) / "performance.md", Path(folder.name) / "performance"
        self.records = Records.read(RECORDED)

    def rendered(self):
        page.render(self.records, self.page, self.plots)
        return self.page.read_text(encoding="utf-8")

    def test_a_recorded_run_becomes_tables_and_plots(self):
        text = self.rendered()
        self.assertTrue(text.startswith("# Performance\n\n`make bench` (`scripts/performance`) writes this page"))
        prose = re.sub(r"```sh\n.*?```", "", text, flags=re.DOTALL).splitlines()
        self.assertEqual([line for line in prose if len(line) > 120 and not line.startswith("|")], [])
        self.assertIn("**evomoe**", text)
        self.assertIn("evomoe, as PyTorch dispatches", text)
        self.assertIn("torch_loop", text)
        self.assertIn("(performance/experts.svg)", text)
        self.assertTrue((self.plots / "experts.svg").exists())
        for block in text.split("\n\n"):
            if block.startswith("|"):
                self.assertEqual(len({row.count("|") for row in block.splitlines()}), 1, block)

    def test_rendering_again_changes_nothing(self):
        self.assertEqual(self.rendered(), self.rendered())

    def test_what_failed_is_named(self):
        self.records.processes.append(process("data", OURS, 1, status=3))
        self.assertIn("**Failed** in round 1 with exit status 3: `run data ours`", self.rendered())

    def test_wrong_checksums_are_told(self):
        self.assertEqual(page.wrong_checksums(self.records), [])
        for kept in self.records.processes:
            for result in kept["results"]:
                if result["impl"] == "torch_loop":
                    result["checksum"]["grad_x"] *= 1.01
        self.assertEqual([(case, impl) for case, impl, _ in page.wrong_checksums(self.records)],
                         [("layer-E8-k1", "torch_loop")])
        self.assertIn("**layer-E8-k1: the checksums of torch_loop and ours differ by 9.9e-03", self.rendered())

    def test_without_results_the_page_says_so(self):
        self.records = Records()
        self.assertIn("not measured", self.rendered())


class Plots(unittest.TestCase):
    panel = plots.Panel("Time <per token>", "experts", "µs",
                        (plots.Point(4, 1.0, 0.9, 1.2), plots.Point(16, 3.0, 3.0, 3.0)), ((4, 1.0), (16, 2.0)))

    def test_a_plot_is_well_formed_on_white_ground_with_every_point_and_label(self):
        root = xml.dom.minidom.parseString(plots.svg((self.panel, self.panel))).documentElement
        ground = root.getElementsByTagName("rect")[0]
        self.assertEqual((ground.getAttribute("fill"), ground.getAttribute("width")),
                         ("#ffffff", root.getAttribute("width")))
        texts = [element.firstChild.data for element in root.getElementsByTagName("text")]
        for label in ("Time <per token>", "experts", "µs", "measured", "expected", "4", "16", "0"):
            self.assertEqual(texts.count(label) % 2, 0, label)
            self.assertGreaterEqual(texts.count(label), 2, label)
        self.assertEqual(len(root.getElementsByTagName("polyline")), 4)
        # Each panel: two points, and the one of the legend.
        self.assertEqual(len(root.getElementsByTagName("circle")), 6)

    def test_ticks_are_round_numbers(self):
        self.assertEqual([plots.nice_step(top) for top in (4.9, 5.1, 11, 23, 100)], [1, 2, 2.5, 5, 20])
        self.assertEqual([plots.number(value) for value in (512, 1024, 16384, 0.5, 250)],
                         ["512", "1k", "16k", "0.5", "250"])

    def test_a_curve_that_agrees_needs_no_reason_and_one_that_does_not_names_it(self):
        quantity = growth.Quantity("Time", None, "flat.", above=lambda x: f"{x} is short")
        near = plots.Panel("", "tokens", "", (plots.Point(4, 1.05, 1.05, 1.05),), ((4, 1.0),))
        above = plots.Panel("", "tokens", "", (plots.Point(4, 1.5, 1.5, 1.5),), ((4, 1.0),))
        below = plots.Panel("", "tokens", "", (plots.Point(4, 0.5, 0.5, 0.5),), ((4, 1.0),))
        self.assertEqual(growth.sentence(quantity, near), "Time: flat. Measured agrees within 5 %.")
        self.assertEqual(growth.sentence(quantity, above),
                         "Time: flat. Measured is 1.50 times that (tokens: 4): 4 is short.")
        self.assertEqual(growth.sentence(quantity, below),
                         "Time: flat. Measured is 0.50 times that (tokens: 4): the reason is not known.")


if __name__ == "__main__":
    unittest.main()
