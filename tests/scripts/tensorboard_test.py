"""`evomoe train --tensorboard-logdir`: what the event files hold, as the package tensorboard reads them.

EVOMOE_TENSORBOARD_PYTHON names a Python that has the package; else it is the one that runs this. The first argument
is the program.
"""
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = sys.argv.pop(1)
READER = os.environ.get("EVOMOE_TENSORBOARD_PYTHON", sys.executable)

# Prints all that the folders below a log folder hold, as JSON: {run: {kind: {tag: [[step, value], ...]}}}.
READ = """
import json, struct, sys
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.util import tensor_util
everything = dict(scalars=0, images=0, histograms=0, text=0)
runs = EventMultiplexer(tensor_size_guidance=everything).AddRunsFromDirectory(sys.argv[1])
runs.Reload()
found = {}
for run, tags in runs.Runs().items():
    kinds = found.setdefault(run, {})
    for tag in tags["tensors"]:
        plugin = runs.SummaryMetadata(run, tag).plugin_data.plugin_name
        points = []
        for event in runs.Tensors(run, tag):
            value = tensor_util.make_ndarray(event.tensor_proto)
            if plugin == "images":
                png = value[2]
                value = [len(value) - 2, *struct.unpack(">II", png[16:24])] if png.startswith(b"\\x89PNG") else None
            elif plugin == "text":
                value = value[0].decode()
            else:
                value = value.tolist()
            points.append([event.step, value])
        kinds.setdefault(plugin, {})[tag] = points
print(json.dumps(found))
"""

HAS_TENSORBOARD = subprocess.run([READER, "-c", "import tensorboard"], capture_output=True).returncode == 0


@unittest.skipUnless(HAS_TENSORBOARD,
                     f"{READER} has no tensorboard; EVOMOE_TENSORBOARD_PYTHON names a Python that has it")
class TensorBoard(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        for split, lines in (("train", 400), ("valid", 40)):
            text = "".join(f"the w{i * i % 23} sees w{i * 7 % 19} and then w{i % 11} goes\n" for i in range(lines))
            (cls.folder / f"{split}.txt").write_text(text)
        cls.program("preprocess", "--only-source", "--trainpref", cls.folder / "train.txt", "--validpref",
                    cls.folder / "valid.txt", "--destdir", cls.folder / "bin")

    @classmethod
    def program(cls, *arguments, code=0):
        result = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True,
                                env={**os.environ, "OMP_NUM_THREADS": "1"})
        if result.returncode != code:
            raise AssertionError(f"{arguments}: {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def train(self, run, *more, code=0):
        return self.program(
            "train", self.folder / "bin", "--save-dir", self.folder / run, "--tensorboard-logdir",
            self.folder / f"{run}-tb", "--arch", "transformer_lm_gpt2_tiny", "--decoder-layers", 2,
            "--decoder-embed-dim", 16, "--decoder-ffn-embed-dim", 32, "--decoder-attention-heads", 2,
            "--tokens-per-sample", 16, "--batch-size", 4, "--lr", 0.003, "--max-update", 24, "--log-interval", 4,
            "--log-format", "none", "--threads", 1, "--device", "cpu", "--validate-interval-updates", 8,
            "--moe-freq", 1, "--moe-expert-count", 4, "--moe-top1-expert", *more, code=code)

    def board(self, run):
        result = subprocess.run([READER, "-c", READ, str(self.folder / f"{run}-tb")], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def log(self, run):
        return [json.loads(line) for line in (self.folder / run / "log.jsonl").read_text().splitlines()]

    def test_each_split_has_the_numbers_of_its_lines_of_the_log(self):
        self.train("whole")
        board = self.board("whole")
        self.assertEqual(sorted(board), ["train", "train_inner", "valid"])
        for split, prefix in (("train_inner", ""), ("train", "train_"), ("valid", "valid_")):
            lines = [line for line in self.log("whole") if line["tag"] == split]
            self.assertGreater(len(lines), 0)
            for key in ("loss", "ppl") if split == "train" else ("loss", "ppl", "elapsed", "flops"):
                points = board[split]["scalars"][key]
                self.assertEqual([step for step, _ in points], [line["completed_updates"] for line in lines], key)
                for (_, value), line in zip(points, lines):
                    self.assertTrue(math.isclose(value, line[prefix + key], rel_tol=1e-6), (split, key))
        self.assertNotIn("num_updates", board["train_inner"]["scalars"])
        entropies = board["train_inner"]["scalars"]["router_entropy/layer_1"]
        lines = [line for line in self.log("whole") if line["tag"] == "train_inner"]
        for (_, value), line in zip(entropies, lines):
            self.assertTrue(math.isclose(value, line["routers"][1]["entropy"], rel_tol=1e-6))

    def test_loads_are_histograms_and_a_heat_map_and_the_configuration_is_text(self):
        self.train("loads")
        inner = self.board("loads")["train_inner"]
        lines = [line for line in self.log("loads") if line["tag"] == "train_inner"]
        for layer in (0, 1):
            points = inner["histograms"][f"load/layer_{layer}"]
            self.assertEqual(len(points), len(lines))
            for (_, buckets), line in zip(points, lines):
                # Of the four experts, from the least loaded to the most loaded one, over their mean.
                self.assertEqual(sum(count for _, _, count in buckets), 4)
                self.assertAlmostEqual(buckets[-1][1], line["routers"][layer]["max_vio"] + 1, places=5)
                shares = [line["routers"][layer][f"load_{end}"] for end in ("min", "max")]
                self.assertAlmostEqual(buckets[0][0] * shares[1], buckets[-1][1] * shares[0], places=4)
        pictures = inner["images"]["load"]
        self.assertEqual([step for step, _ in pictures], [line["completed_updates"] for line in lines])
        number, width, height = pictures[0][1]
        self.assertEqual((number, width), (1, 2 * height))  # four experts, two layers
        for split in ("train_inner", "valid"):
            text = self.board("loads")[split]["text"]["config"]
            self.assertEqual(len(text), 1)
            self.assertIn("moe_expert_count: 4", text[0][1])

    def test_a_run_that_stops_and_goes_on_has_each_point_once(self):
        self.train("stopped", "--max-update", 11)
        self.train("stopped")
        # A crash loses the updates since the checkpoint, but not what was logged of them.
        process = subprocess.Popen(
            [PROGRAM, "train", "--config", self.folder / "stopped/config.yaml", "optimization.max_update=100000",
             "checkpoint.save_interval_updates=40", "checkpoint.no_epoch_checkpoints=true"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        log = self.folder / "stopped/log.jsonl"
        while process.poll() is None and '"completed_updates": 108,' not in log.read_text():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.assertEqual(process.returncode, -signal.SIGKILL)
        end = max(line["completed_updates"] for line in self.log("stopped")) + 40
        self.train("stopped", "--max-update", end)
        board = self.board("stopped")
        self.assertEqual([step for step, _ in board["train_inner"]["scalars"]["loss"]], list(range(4, end + 1, 4)))
        for split, kinds in board.items():
            for kind, tags in kinds.items():
                for tag, points in tags.items():
                    steps = [step for step, _ in points]
                    self.assertEqual(steps, sorted(set(steps)), (split, kind, tag))
        lines = [line["completed_updates"] for line in self.log("stopped") if line["tag"] == "valid"]
        self.assertEqual([step for step, _ in board["valid"]["scalars"]["loss"]], lines)

    def test_a_new_run_in_the_folder_of_another_one_does_not_mix_with_it(self):
        self.train("again", "--max-update", 8, "--no-save")
        result = self.train("again", "--max-update", 4, "--no-save")
        self.assertIn("events of an earlier run", result.stderr)
        self.assertEqual([step for step, _ in self.board("again")["train_inner"]["scalars"]["loss"]], [4])

    def test_a_folder_that_cannot_be_written_is_refused_before_the_run(self):
        (self.folder / "file-tb").write_text("")
        result = self.train("file", code=1)
        self.assertIn("file-tb", result.stderr)
        self.assertNotIn("update", result.stdout)

    def test_weights_and_biases_is_refused_with_what_to_do_instead(self):
        result = self.train("wandb", "--wandb-project", "x", code=2)
        self.assertIn("--tensorboard-logdir", result.stderr)
        self.assertIn("wandb sync", result.stderr)


if __name__ == "__main__":
    unittest.main()
