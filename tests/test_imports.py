"""Who may import whom (design): checked by import-linter with the contracts in pyproject.toml."""

import subprocess
import sys
from pathlib import Path


def test_import_rules_hold():
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    found = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
    assert "3 kept, 0 broken" in found.stdout
