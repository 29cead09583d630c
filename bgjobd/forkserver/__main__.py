"""Starts the fork server from its file, under any interpreter, with nothing on the path but that interpreter's own.

Usage: python -I -X utf8 .../forkserver/__main__.py FD, where FD is the inherited link to the daemon. With a second
word, `debugging`, it runs one job's call under a debugger instead, and FD is the open file that says which; with
`network` it tries whether attempts can be without one.
"""

import importlib.util
import sys
from pathlib import Path

_NAME = "bgjobd_forkserver"


def _load() -> None:
    # Loaded by place, not by name: the application's interpreter need not have bgjobd installed.
    folder = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(
        _NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"no fork server in {folder}")
    package = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    _load()
    wanted = sys.argv[2] if len(sys.argv) > 2 else "server"
    importlib.import_module(f"{_NAME}.{wanted}").main(int(sys.argv[1]))
