"""Studies: claims of papers, tested again by one command.

`STUDIES` lists them; ``camcore reproduce NAME`` runs one and writes its page. Each states its
claim, its protocol and its criteria before anything is run, and says what it found in PyTorch and
in Keras.
"""

from camcore.studies.study import Finding, Outcome, Setting, Study, Table
from camcore.studies.table import STUDIES, find_study, run_study

__all__ = [
    "STUDIES",
    "Finding",
    "Outcome",
    "Setting",
    "Study",
    "Table",
    "find_study",
    "run_study",
]
