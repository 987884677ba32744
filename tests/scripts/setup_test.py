"""scripts/setup.sh with programs that only write down how they were called: what it does to a .venv that is there."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PYTHON3 = """#!/bin/sh
echo "python3 $*" >> calls
case "$*" in *--clear*) rm -rf .venv ;; esac
case "$*" in *"-m venv"*) mkdir -p .venv/bin && cp bin/venv_python .venv/bin/python ;; esac
"""
VENV_PYTHON = """#!/bin/sh
echo "venv $*" >> calls
"""
WITHOUT_PIP = VENV_PYTHON + "exit 1\n"
WITHOUT_NETWORK = VENV_PYTHON + 'case "$*" in *install*) exit 1 ;; esac\n'


class SetupTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        (self.root / "scripts").mkdir()
        shutil.copy(ROOT / "scripts/setup.sh", self.root / "scripts")
        self.program("bin/dpkg-query", "#!/bin/sh\necho install ok installed\n")
        self.program("bin/python3", PYTHON3)
        self.program("bin/venv_python", VENV_PYTHON)

    def program(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def setup_with_torch(self):
        """With a LibTorch of one's own: only pyarrow goes into .venv."""
        environment = {**os.environ, "PATH": f"{self.root}/bin:{os.environ['PATH']}", "EVOMOE_TORCH": "/torch"}
        for name in ("EVOMOE_ARROW", "PRESET"):
            environment.pop(name, None)
        run = subprocess.run([self.root / "scripts/setup.sh"], env=environment, capture_output=True, text=True, check=True)
        return (self.root / "calls").read_text(encoding="utf-8"), run.stderr

    def test_makes_a_venv_where_there_is_none(self):
        calls, _ = self.setup_with_torch()
        self.assertIn("python3 -m venv", calls)
        self.assertIn("venv -m pip install", calls)

    def test_never_clears_one_that_is_there(self):
        for python in (VENV_PYTHON, WITHOUT_NETWORK, WITHOUT_PIP):
            self.program(".venv/bin/python", python)
            (self.root / ".venv/mine").touch()
            calls, errors = self.setup_with_torch()
            self.assertTrue((self.root / ".venv/mine").exists())
            self.assertNotIn("-m venv", calls)
            self.assertEqual("could not be installed" in errors, python != VENV_PYTHON)
            self.assertEqual("rm -r .venv" in errors, python == WITHOUT_PIP)


if __name__ == "__main__":
    unittest.main()
