"""The page of `evomoe report` in a headless Chromium: what a reader sees, points at and types.

usage: report_page_test.py EVOMOE. Skipped (exit code 77) where there is no chromium. With EVOMOE_SCREENSHOTS=FOLDER the
page is photographed there, at three widths and in the dark.
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import unittest

from browser import Browser, find_chromium

PROGRAM = sys.argv.pop() if len(sys.argv) > 1 else "build/release/evomoe"
WIDTHS = (360, 800, 1400)


def lines(name, updates, seconds):
    """The log of a made-up evolution: a line each 10 updates, a validation each 50."""
    yield {"tag": "stage", "completed_updates": 100, "stage": "dense-to-sparse"}
    for update in range(10, updates + 1, 10):
        sparse = update > 200
        routers = [{"layer": layer, "active_experts": 1.0 if sparse else 4.0, "max_vio": 0.1 * layer, "load_cv": 0.05,
                    "dead_experts": 1, "entropy": 1.3 - update / 1000, "dropped_share": 0.0,
                    "load": [100 + update % 7, 100, 50 * layer, 0]} for layer in (1, 3, 5)]
        yield {"tag": "train_inner", "completed_updates": update, "loss": 4 + 500 / (update + 50), "wps": 900.0,
               "lr": 1e-3, "gnorm": 1.2, "wpb": 100.0, "evolution": {"temperature": 2 / (1 + update / 50)},
               "active_experts": 1.0 if sparse else 4.0, "routers": routers, "flops_per_token": 1e6,
               "ms_per_update": 20.0 if sparse else 35.0, "elapsed": seconds * update, "flops": 1e8 * update,
               "train_tokens": 100.0 * update}
        if update == 200:
            yield {"tag": "stage", "completed_updates": 200, "stage": "sparse"}
        if update % 50 == 0:
            yield {"tag": name, "completed_updates": update, f"{name}_loss": 5.0, f"{name}_perplexity": 40 + 3000 / update,
                   f"{name}_elapsed": seconds * update, f"{name}_flops": 1e8 * update,
                   f"{name}_train_tokens": 100.0 * update}


def make_run(folder, updates, seconds, lr):
    folder.mkdir()
    with open(folder / "log.jsonl", "w", encoding="utf-8") as log:
        for line in lines("valid", updates, seconds):
            log.write(json.dumps(line) + "\n")
    (folder / "config.yaml").write_text(f"optimization:\n  lr: [{lr}]\nmoe:\n  moe_freq: 2\n", encoding="utf-8")


class ReportPage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        make_run(cls.folder / "evomoe", 300, 0.5, 0.001)
        make_run(cls.folder / "<b>switch", 400, 0.4, 0.002)
        cls.page = cls.folder / "page.html"
        subprocess.run([PROGRAM, "report", cls.folder / "evomoe", cls.folder / "<b>switch", "-o", cls.page], check=True)
        cls.browser = Browser(find_chromium())

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.temporary.cleanup()

    def setUp(self):
        self.browser.size(1400)
        self.browser.colors("light")
        self.browser.open(self.page.as_uri())

    def tearDown(self):
        self.assertEqual(self.browser.errors, [])

    def points(self, plot):
        return int(self.browser.value(f"document.getElementById('{plot}').dataset.points"))

    def test_curves_have_the_points_of_the_logs(self):
        self.assertEqual(self.points("plot-loss"), 30 + 40)
        self.assertEqual(self.points("plot-temperature"), 70)
        self.assertEqual(self.points("plot-valid-perplexity"), 6 + 8)
        self.assertFalse(self.browser.value("document.getElementById('plot-dropped_share') !== null"), "it is 0 throughout")
        self.browser.value("document.querySelector('#runs input').click()")
        self.assertEqual(self.points("plot-loss"), 40, "a run can be hidden")

    def test_pointing_at_a_curve_tells_its_values(self):
        left, top, width, height = self.browser.box("#plot-loss .plot")
        self.browser.mouse("Moved", left + width * .3, top + height / 2)
        told = self.browser.text("#plot-loss .readout")
        update = int(re.match(r"update (\d+)", told).group(1))
        self.assertEqual(update % 10, 0)
        loss = f"{4 + 500 / (update + 50):.4g}"
        self.assertIn(f"evomoe {loss}", told)
        self.assertIn(f"<b>switch {loss}", told, "a name is text")

    def test_arrow_keys_go_from_point_to_point(self):
        self.browser.value("document.querySelector('#plot-loss .plot').focus()")
        for key in ("ArrowRight", "ArrowRight", "ArrowRight"):
            self.browser.key(key)
        self.assertIn("update 30", self.browser.text("#plot-loss .readout"))
        self.browser.key("End")
        self.assertIn("update 400", self.browser.text("#plot-loss .readout"))

    def test_a_zoom_is_that_of_all_curves_and_goes_back(self):
        left, top, width, height = self.browser.box("#plot-loss .plot")
        y = top + height / 2
        self.browser.mouse("Moved", left + width * .4, y)
        self.browser.mouse("Pressed", left + width * .4, y, "left")
        self.browser.mouse("Moved", left + width * .5, y, "left")
        self.browser.mouse("Moved", left + width * .6, y, "left")
        self.browser.mouse("Released", left + width * .6, y, "left")
        ranges = self.browser.value("plots.filter(plot => plot.graph).map(plot => plot.graph.xAxisRange())")
        self.assertGreater(len(ranges), 5)
        self.assertLess(ranges[0][1] - ranges[0][0], 200)
        for one in ranges:
            self.assertAlmostEqual(one[0], ranges[0][0], places=3)
            self.assertAlmostEqual(one[1], ranges[0][1], places=3)
        self.browser.value("document.getElementById('whole').click()")
        self.assertGreater(self.browser.value("plots[0].graph.xAxisRange()[1]"), 399)

    def test_axes_can_be_chosen(self):
        for axis, title, end in (("tokens", "training tokens", 40000), ("flops", "FLOP", 4e10), ("seconds", "time", 160)):
            self.browser.value(f"(() => {{ const axis = document.getElementById('axis'); axis.value = '{axis}';"
                               "axis.dispatchEvent(new Event('change')); })()")
            self.assertIn(title, self.browser.text("#plot-loss figcaption"))
            self.assertEqual(self.points("plot-loss"), 70)
            self.assertAlmostEqual(self.browser.value("plots[0].graph.xAxisExtremes()[1]") / end, 1, places=2)
        for box in ("log-x", "log-y"):
            self.browser.value(f"document.getElementById('{box}').click()")
            self.assertEqual(self.points("plot-loss"), 70)
        self.assertTrue(self.browser.value("plots[0].graph.getOption('logscale')"))

    def test_the_heat_map_tells_the_load_of_an_expert(self):
        self.assertEqual(self.browser.value("[...document.querySelectorAll('#loads canvas')].map(map => +map.dataset.cells)"),
                         [3 * 4, 30 * 4, 3 * 4, 40 * 4])
        left, top, width, height = self.browser.box("#loads canvas")
        self.browser.mouse("Moved", left + width * .9, top + height * .5)
        self.assertIn("layer 3 · expert 3: no token (dead)", self.browser.text("#loads .readout"))
        self.browser.value("document.querySelector('#loads canvas').focus()")
        self.browser.key("ArrowLeft")
        self.assertIn("layer 3 · expert 2: ", self.browser.text("#loads .readout"))
        load = [100 + 300 % 7, 100, 150, 0]
        self.assertIn(f": {round(load[2] * 4 / sum(load), 2)} ×", self.browser.text("#loads .readout"))

    def test_it_says_what_differs_and_what_the_figures_mean(self):
        self.assertIn("--lr0.0010.002", self.browser.text("#settings .tables"))
        summary = self.browser.text("#summary .sentences")
        self.assertIn("dense-to-sparse from update 100, sparse from update 200", summary)
        self.assertIn("perplexity of 'valid' is 50.00 at update 300, its lowest", summary)

    def test_it_fits_a_phone_and_a_wide_screen_in_light_and_dark(self):
        for scheme in ("light", "dark"):
            self.browser.colors(scheme)
            for width in WIDTHS:
                self.browser.size(width)
                self.browser.open(self.page.as_uri())
                self.assertLessEqual(self.browser.value("document.documentElement.scrollWidth"), width)
                if folder := os.environ.get("EVOMOE_SCREENSHOTS"):
                    self.browser.screenshot(f"{folder}/{scheme}-{width}.png")
            red = int(self.browser.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]"))
            self.assertEqual(red > 128, scheme == "light")

    def test_a_live_page_grows_with_the_log_and_outlives_its_server(self):
        run = self.folder / "live"
        make_run(run, 100, 1, 0.1)
        with subprocess.Popen([PROGRAM, "report", "--live", "0", run], stderr=subprocess.PIPE, text=True) as server:
            try:
                address = re.search(r"http://\S+", server.stderr.readline()).group(0)
                self.browser.open(address)
                self.assertEqual(self.points("plot-loss"), 10)
                with open(run / "log.jsonl", "a", encoding="utf-8") as log:
                    log.write(json.dumps({"tag": "train_inner", "completed_updates": 110, "loss": 3.0}) + "\n")
                self.browser.wait("document.getElementById('plot-loss').dataset.points === '11'")
                self.assertIn("Live", self.browser.text("#live"))
                server.send_signal(signal.SIGINT)
                self.browser.wait("document.getElementById('live').textContent.includes('ended')")
                self.assertEqual(server.wait(), 130)
            finally:
                server.kill()


if __name__ == "__main__":
    if find_chromium() is None:
        print("skipped: there is no chromium (Debian: chromium) to open the page with")
        sys.exit(77)
    unittest.main()
