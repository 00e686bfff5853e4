"""python docs/notebooks.py [--check]: carry out examples/*.ipynb, each in a folder of its own.

Their outputs are written into them; with --check nothing is written, and only errors count. Needs the extra docs.
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def main(arguments: list[str], root: Path) -> int:
    """The command; 1 if a notebook has an error."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    status = 0
    for path in sorted((root / "examples").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            try:
                NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": folder}}).execute()
            except CellExecutionError as error:
                print(f"{path.name}: {error}", file=sys.stderr)
                status = 1
                continue
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # when each cell ran
        if not arguments:
            nbformat.write(notebook, path)
        print(f"{path.name}: carried out")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parent.parent))
