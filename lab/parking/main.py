"""Start of the program, in a checkout and on a gateway: the folder that holds this file is the package."""

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path[0] = str(here.parent)
    importlib.import_module(f"{here.name}.program").main()
