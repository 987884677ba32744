"""The page that scripts/results.py writes: what the records of plans say, and how EvoMoE and Switch stand in them."""

import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import results  # noqa: E402


def run(method, seed, length, perplexity, failure=None):
    return {"name": f"{method}.{seed}", "method": method, "seed": seed, "length": length, "failure": failure,
            "perplexity": perplexity, "updates": length, "tokens": 2000 * length, "flops": 1e9 * length,
            "seconds": .1 * length, "active_experts": None if method == "dense" else 1., "max_vio": None}


def record(runs, reach=None, differences=()):
    return {"made": "One day.", "said": ["evomoe after 100 updates: perplexity 1 % lower."],
            "result": {"baseline": "switch", "unit": "updates", "target_perplexity": 50., "runs": runs,
                       "to_reach_target": reach or {}, "differences": list(differences)}}


def cost(updates):
    return {"updates": updates, "tokens": 2000 * updates, "flops": 1e9 * updates, "seconds": .2 * updates}


PLAN = ROOT / "recipes/plans/books_small.yaml"
PAIR = {"method": "evomoe", "length": 200, "log_perplexity": [-.02, -.03], "mean": -.025, "t": -5., "critical_t": 12.71}


class EvolutionTest(unittest.TestCase):
    def rows(self, record):
        return list(results.evolution_rows({PLAN: record}))

    def test_a_row_for_each_length_with_the_cost_to_reach_switch_in_the_last(self):
        runs = [run(method, seed, length, perplexity + seed) for length in (100, 200) for seed in (1, 2)
                for method, perplexity in (("dense", 60), ("switch", 50), ("evomoe", 48))]
        reach = {"dense": None, "switch": cost(200), "evomoe": cost(150)}
        self.assertEqual(self.rows(record(runs, reach, [PAIR])), [
            ["`books_small`", "100 updates", "61.50 ± 0.71", "51.50 ± 0.71", "49.50 ± 0.71"] + ["-"] * 5,
            ["`books_small`", "200 updates", "61.50 ± 0.71", "51.50 ± 0.71", "49.50 ± 0.71", "-2.47 %", "-5.0 (12.7)",
             "0.75", "0.75", "0.75"]])

    def test_one_length_one_seed_and_a_method_that_is_not_there(self):
        pair = {**PAIR, "length": 100, "t": None, "critical_t": None}
        runs = [run("switch", 1, 100, 50), run("evomoe", 1, 100, 48)]
        self.assertEqual(self.rows(record(runs, {"switch": cost(100)}, [pair])),
                         [["`books_small`", "100 updates", "-", "50.00", "48.00", "-2.47 %"] + ["-"] * 4])

    def test_failed_runs_and_runs_that_have_diverged_count_for_nothing(self):
        runs = [run("switch", 1, 100, 50), run("switch", 2, 100, None, "killed"), run("evomoe", 1, 100, None)]
        self.assertEqual(self.rows(record(runs))[0][3:5], ["50.00", "-"])
        self.assertIn("| switch | 100 | 1 of 2 | 50.00 |", results.section(PLAN, record(runs)))

    def test_plans_without_either_have_no_row(self):
        self.assertEqual(self.rows(record([run("switch", 1, 100, 50)])), [])
        other = record([run("evomoe", 1, 100, 50), run("dense", 1, 100, 50)])
        other["result"]["baseline"] = "dense"
        self.assertEqual(self.rows(other), [])


class PageTest(unittest.TestCase):
    def test_a_method_that_never_comes_so_far_says_so(self):
        runs = [run(method, 1, length, 50) for length in (100, 200) for method in ("dense", "switch")]
        page = results.page_of({PLAN: record(runs, {"dense": None, "switch": cost(200)})})
        self.assertIn("| dense | not reached | - |", page)
        self.assertIn("| switch | 200 | 200 G | 1.00 | 0:40 | 1.00 |", page)
        self.assertIn("\n- evomoe after 100 updates: perplexity 1 % lower.\n", page)
        self.assertNotIn("When does evolution pay", page)

    def test_the_page_that_is_there_is_made_of_the_records_that_are_there(self):
        kept = results.kept_records()
        self.assertTrue(kept)
        self.assertEqual({results.record_of(plan) for plan in kept}, set(results.RECORDS.glob("*")))
        self.assertEqual(results.PAGE.read_text(encoding="utf-8"), results.page_of(kept))


if __name__ == "__main__":
    unittest.main()
