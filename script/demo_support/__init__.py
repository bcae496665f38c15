"""The program behind script/demo: examples/orders, run for real on a throwaway or a given database."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
