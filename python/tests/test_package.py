"""The package itself: the torch that it was built for, its types, and checkpoints of the program (EVOMOE_PROGRAM)."""
import importlib.util
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import torch

import evomoe
from evomoe import _torch_version


class Torch(unittest.TestCase):
    def test_another_torch_is_refused_by_name(self):
        code = "import torch; torch.__version__ = '2.99.1+cpu'; import evomoe"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"ImportError: evomoe was built for torch {_torch_version.TORCH_VERSION}, but this is torch "
                      "2.99.1", result.stderr)
        self.assertIn("pip install --no-build-isolation", result.stderr)

    def test_another_patch_is_not(self):
        _torch_version.check(_torch_version.TORCH_VERSION + ".7+cu130")

    def test_it_is_typed(self):
        self.assertTrue((pathlib.Path(evomoe.__file__).parent / "py.typed").exists())


class Checkpoints(unittest.TestCase):
    def test_what_is_no_checkpoint_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(RuntimeError, folder):
                evomoe.load(folder)

    @unittest.skipUnless(os.environ.get("EVOMOE_PROGRAM"), "EVOMOE_PROGRAM is not set to the program evomoe")
    def test_tensors_and_options_of_a_run(self):
        program = os.environ["EVOMOE_PROGRAM"]
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "text").write_text("".join(f"the cat {i % 7} sees the dog {i % 5}\n" for i in range(80)))

            def run(*arguments):
                subprocess.run([program, *map(str, arguments)], check=True, capture_output=True)

            run("preprocess", "--only-source", "--trainpref", folder / "text", "--validpref", folder / "text",
                "--destdir", folder / "bin")
            run("train", folder / "bin", *"--arch transformer_lm_gpt2_tiny --decoder-layers 2 --decoder-embed-dim 16 "
                "--decoder-ffn-embed-dim 24 --decoder-attention-heads 2 --tokens-per-sample 16 --batch-size 8 "
                "--max-update 3 --moe-freq 2 --moe-expert-count 4 --moe-router topk --moe-k 2 --lr 0.01 --threads 1 "
                "--moe-eval-capacity-token-fraction -1 --moe-train-capacity-token-fraction 0 "
                "--log-format none --disable-validation".split(), "--save-dir", folder / "run")
            checkpoint = evomoe.load(folder / "run/checkpoint_last")
            self.assertEqual(checkpoint.updates, 3)
            self.assertEqual(checkpoint.options["moe"]["moe_k"], 2)
            self.assertEqual(checkpoint.optimizer, {})
            self.assertTrue(evomoe.load(folder / "run/checkpoint_last", optimizer=True).optimizer)

            layer = evomoe.MoELayer(16, 24, 4, "topk", moe_k=2)
            layer.load_state_dict(checkpoint.layer(1))
            self.assertTrue(torch.isfinite(layer(torch.randn(2, 5, 16)).y).all())
            with self.assertRaisesRegex(KeyError, "block 0 of the checkpoint has no MoE layer"):
                checkpoint.layer(0)
            with self.assertRaisesRegex(FileNotFoundError, "no program '/no/evomoe'"):
                checkpoint.to_transformers(program="/no/evomoe")
            if importlib.util.find_spec("transformers"):
                self.check_logits(checkpoint, program, folder)

    def check_logits(self, checkpoint, program, folder):
        """Perplexity by the logits of transformers' form is what the program finds."""
        model = checkpoint.to_transformers(program=program).eval()
        with self.assertRaisesRegex(RuntimeError, "text/model"):  # below a file
            checkpoint.to_transformers(folder / "text/model", program=program)
        lines = (folder / "text").read_text().splitlines()
        words = {line.split()[0]: number for number, line in
                 enumerate((folder / "bin/dict.txt").read_text().splitlines(), start=4)}
        ids = torch.tensor([2] + [words[word] if word else 2 for line in lines for word in [*line.split(), ""]])
        loss, count = 0.0, 0
        with torch.no_grad():
            for begin in range(0, len(ids) - 1, 16):  # as --tokens-per-sample has it
                piece = ids[begin:begin + 17]
                logits = model(input_ids=piece[None, :-1]).logits[0]
                loss += torch.nn.functional.cross_entropy(logits, piece[1:], reduction="sum").item()
                count += len(piece) - 1
        done = subprocess.run([program, "eval-lm", folder / "bin", "--path", checkpoint.path, "--gen-subset", "valid",
                               "--log-format", "json"], check=True, capture_output=True, text=True)
        theirs = json.loads(done.stdout)
        self.assertEqual(count, theirs["tokens"])
        self.assertAlmostEqual(loss / count, theirs["loss"] * math.log(2), places=4)


if __name__ == "__main__":
    unittest.main()
